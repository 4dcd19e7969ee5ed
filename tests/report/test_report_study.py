from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from matcard.errors import InputError
from matcard.evaluation.style import new_figure, save_figure
from matcard.files import to_json
from matcard.report.__main__ import main as report_command
from matcard.report.study import write_study_report
from matcard.study.settings import StudyDir


def test_report_of_a_study(tmp_path):
    with pytest.raises(InputError, match=r"trials\.parquet"):
        write_study_report(tmp_path)
    trials = pd.DataFrame(
        {"number": [0, 1, 2], "state": ["complete", "fail", "complete"], "failure": [None, "<loss> is NaN", None],
         "defaults": [True, False, False], "seconds": [60.0, 5.0, 70.0], "macro_f1": [0.5, np.nan, 0.625],
         "loss.scale": [1.0, 30.0, 3.25], "val_macro_f1": [0.5, np.nan, 0.625]}
    )  # fmt: skip
    trials.to_parquet(tmp_path / "trials.parquet")
    (tmp_path / "study.yaml").write_text("space: {loss.scale: {low: 0.1, high: 30}}")
    (tmp_path / "best.yaml").write_text("model: {name: cgcnn}\nloss: {scale: 3.25, name: reweight}\nname: x")
    (tmp_path / "figures").mkdir()
    save_figure(new_figure(2, 1), tmp_path / "figures" / "history.svg")
    text = write_study_report(tmp_path).read_text(encoding="utf-8")
    for said in (
        "0.625, of trial 2",
        '<svg role="img" aria-label="history: ',
        "0 (defaults)",
        "was not compared",
        "Nothing was trained at full length",
    ):
        assert said in text
    assert "2 finished, 1 failed" in text
    assert f"--study {tmp_path} --retrain 5" in text
    assert "matcard.train --config" in text
    assert "Plotly" not in text


def test_gains_of_a_study_have_signs(tmp_path):
    pd.DataFrame({"number": [0], "state": ["complete"], "failure": [None], "defaults": [True], "seconds": [1.0],
                  "macro_f1": [0.5]}).to_parquet(tmp_path / "trials.parquet")  # fmt: skip
    (tmp_path / "study.yaml").write_text("space: {loss.scale: {low: 0.1, high: 30}}")
    gain = {"defaults": 0.5, "best": 0.625, "gain": {"value": 0.125, "low": -0.0012, "high": 0.25}}
    to_json({"interval": "bootstrap", "metrics": {"macro_f1": gain, "mcc": {**gain, "gain": None}}},
            StudyDir(tmp_path).comparison)  # fmt: skip
    text = write_study_report(tmp_path).read_text(encoding="utf-8")
    assert "<td class=number>+0.125</td><td class=number>−0.001 to +0.250</td>" in text
    assert "<td class=number>–</td><td class=number>–</td>" in text


def test_options_of_runs_are_refused_for_a_study(tmp_path):
    (tmp_path / "study.yaml").write_text("")
    for option in (["--baseline", "x"], ["--map", "umap"]):
        with pytest.raises(InputError, match="is a study: --baseline and --map are for runs"):
            report_command([str(tmp_path), *option])
