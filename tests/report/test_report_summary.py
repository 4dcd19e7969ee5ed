from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest
from report_cases import finished_run
from test_report_run import Reader

from matcard.data.draws import Distinct
from matcard.files import to_json
from matcard.report.page import FigureFolder
from matcard.report.summary import class_counts, loss_text
from matcard.training.finished import FinishedRun


def test_a_loss_is_named_with_its_scale():
    of_class = {"name": "reweight", "invariant": "spread"}
    assert loss_text({**of_class, "scale": 3.0}) == "reweight (spread, scale 3)"
    assert loss_text({**of_class, "scale": 2.718281828459045}) == "reweight (spread, scale 2.71828)"
    assert loss_text({**of_class, "scale": "median"}) == "reweight (spread, scale median)"
    assert loss_text({"name": "cross_entropy"}) == "cross entropy"


@pytest.mark.parametrize("scales", [(30.0,), (1.0, 30.0, 120.0)])
def test_the_chapter_of_the_classes_says_how_many_are_distinct(tmp_path, scales):
    run, figures = FinishedRun(finished_run(tmp_path / "run")), FigureFolder(tmp_path / "figures")
    before = Reader(class_counts(run, figures))
    assert "distinct" not in " ".join(before.texts)
    counts = run.counts("train")
    numbers = np.array([0.9, 0.5, 0.1]) * counts * np.array(scales)[:, None] / 120
    distinct = Distinct(tuple(run.class_names), tuple(counts.tolist()), 30.0, scales, tuple(map(tuple, numbers)))
    to_json(asdict(distinct), run.files.distinct)
    text = " ".join(Reader(class_counts(FinishedRun(run.path), figures)).texts)
    written = pd.read_csv(tmp_path / "figures" / "class-counts.csv")
    np.testing.assert_allclose(written["distinct"], distinct.here)
    for number in distinct.here:
        assert f"{number:,.1f}" in text
    assert f"class 'phase 2': its {counts[2]} crystals count as about {distinct.here[2]:.3g} distinct" in text
    assert (tmp_path / "figures" / "distinct.svg").is_file() == (len(scales) > 1)
    if len(scales) > 1:
        drawn = pd.read_csv(tmp_path / "figures" / "distinct.csv")
        np.testing.assert_allclose(drawn[run.class_names], distinct.numbers)
        assert f"is “phase 2”: {distinct.here[2]:,.1f} of {counts[2]:,}" in text
