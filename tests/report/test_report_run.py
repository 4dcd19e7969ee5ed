from __future__ import annotations

import json
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from report_cases import NASTY, finished_run

from matcard.cli import run_command
from matcard.data.read import read_labelled
from matcard.errors import InputError, MatcardWarning
from matcard.report import chemistry, embeddings, mistakes, ranking, recall, summary
from matcard.report.__main__ import main
from matcard.report.page import FigureFolder
from matcard.report.run import write_report
from matcard.training.finished import FinishedRun
from matcard.training.rundir import RunDir

VOID = {"meta", "link", "br", "img", "hr", "input"}
ANCHORS = [
    "summary", "classes", "training", "recall", "confusion", "decision", "baseline", "ranking",
    "calibration", "elements", "systems", "sites", "mistakes", "map", "magnitude", "left-out", "options", "environment",
]  # fmt: skip

PICTURES = [
    "learning", "recall", "confusion", "decision", "baseline", "precision-recall", "reliability",
    "elements", "elements-minority", "crystal-systems", "sites", "confident-1", "hardest-1", "embedding-map",
    "magnitude",
]  # fmt: skip


class Reader(HTMLParser):
    """Checks that every element is closed in its turn, and keeps what the tests ask for."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.texts: list[str] = []
        self.scripts: list[str] = []
        self.svgs: list[dict[str, str]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.ids += [values["id"]] if "id" in values else []
        self.links += [values[key] for key in ("href", "src", "xlink:href") if values.get(key)]
        if tag == "svg":
            self.svgs.append(values)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        (self.scripts if self.open and self.open[-1] == "script" else self.texts).append(data)


@pytest.fixture(scope="module")
def page(nasty_report) -> Reader:
    return Reader(nasty_report.read_text(encoding="utf-8"))


def test_every_section_is_there_and_none_is_missing(page):
    assert [anchor for anchor in page.ids if anchor in ANCHORS] == ANCHORS
    assert "This section is missing" not in " ".join(page.texts)


def test_ids_are_unique_and_links_stay_inside(page, nasty_report):
    assert len(page.ids) == len(set(page.ids))
    inside = {f"#{anchor}" for anchor in page.ids}
    for link in page.links:
        if link.startswith("#"):
            assert link in inside
        elif not link.startswith("data:"):
            assert (nasty_report.parent / link).is_file(), link


def test_nothing_is_taken_for_html(page, nasty_report):
    text = "".join(page.texts)
    for name in NASTY:
        assert name in text
    assert '<id> & "' in text
    assert nasty_report.parent.name in text
    assert "alert(1)" not in "".join(page.scripts).replace("\\u003c/script\\u003e\\u003cscript\\u003ealert(1)", "")


def test_every_picture_says_what_it_shows(page):
    assert len(page.svgs) >= 20
    assert all(len(svg["aria-label"]) > 20 and svg["role"] == "img" for svg in page.svgs)


def test_figures_are_there_as_svg_with_their_data(nasty_report):
    folder = nasty_report.parent / "figures"
    pictures = sorted(path.stem for path in folder.glob("*.svg"))
    assert set(PICTURES) <= set(pictures)
    for name in pictures:
        assert (folder / f"{name}.svg").read_text(encoding="utf-8").count("<path") > 5
        assert len(pd.read_csv(folder / f"{name}.csv")) > 0


def test_data_of_figures_are_those_of_the_run(nasty_report):
    run = FinishedRun(nasty_report.parent)
    folder = nasty_report.parent / "figures"
    test = run.test
    counts = pd.read_csv(folder / "class-counts.csv")
    assert counts["train"].tolist() == run.counts("train").tolist()
    assert counts["left_out"].tolist() == [1, 0, 0, 0, 0]
    confusion = pd.read_csv(folder / "confusion.csv").iloc[:, 1:].to_numpy()
    for true in range(5):
        for called in range(5):
            assert confusion[true, called] == ((test.targets == true) & (test.predicted == called)).sum()
    mistakes = pd.read_csv(folder / "mistakes.csv")
    assert set(mistakes["id"]) == set(test.ids[~test.right])
    assert mistakes["probability_of_true"].is_monotonic_increasing
    sites = pd.read_csv(folder / "sites.csv", dtype={"group": str})
    everything = sites[sites["classes"] == "all classes"].set_index("group")
    numbers = run.test_samples.inputs.num_sites
    for group, row in everything.iterrows():
        assert row["n"] == (numbers == int(group)).sum()
        assert row["found"] == test.right[numbers == int(group)].sum()
    elements = pd.read_csv(folder / "elements.csv").set_index("element")
    with_iron = np.array([26 in run.test_samples.inputs.structure(i).atomic_numbers for i in range(len(test.ids))])
    assert elements.loc["Fe", "n"] == with_iron.sum()
    assert elements.loc["Fe", "found"] == test.right[with_iron].sum()


def test_many_classes(tmp_path):
    run, figures = FinishedRun(finished_run(tmp_path / "run", 32)), FigureFolder(tmp_path / "figures")
    sections = (
        summary.summary, summary.class_counts, recall.per_class, recall.confusion, recall.decisions,
        ranking.precision_recall, embeddings.embedding_map, embeddings.magnitude_functions,
    )  # fmt: skip
    pieces = [Reader(write(run, figures)) for write in sections]
    text = " ".join(" ".join(piece.texts) for piece in pieces)
    assert "tells 32 classes" in text
    assert "The 25 smallest classes are pale" in text


def test_a_section_that_fails_is_said_to_be_missing(tmp_path, monkeypatch):
    run = finished_run(tmp_path / "run")
    (tmp_path / "run.parquet").unlink()
    (run / "embeddings.npz").unlink()
    monkeypatch.setattr(ranking, "reliability", lambda *data: 1 / 0)
    with pytest.warns(MatcardWarning, match="missing") as warned:
        page = Reader(write_report(run).read_text(encoding="utf-8"))
    assert {str(each.message).split("'")[1] for each in warned} == {
        "Calibration", "By element", "By crystal system", "By number of sites", "Mistakes", "Map of the embeddings",
        "Magnitude of the classes",
    }  # fmt: skip
    text = " ".join(page.texts)
    for reason in ("the run has kept no embeddings.npz", "ZeroDivisionError", "neither a file or folder"):
        assert reason in text
    assert [anchor for anchor in page.ids if anchor in ANCHORS] == [each for each in ANCHORS if each != "baseline"]
    assert not page.scripts


def test_a_source_that_has_changed_is_not_mixed_up(tmp_path):
    run = finished_run(tmp_path / "run")
    table = pd.read_parquet(tmp_path / "run.parquet")
    lost = FinishedRun(run).test.ids[[3, 5]]
    table[~table["material_id"].isin(lost)].to_parquet(tmp_path / "run.parquet")
    with pytest.raises(InputError, match=r"^2 of the .* no longer"):
        FinishedRun(run).test_samples  # noqa: B018


def test_predictions_without_a_part_are_refused(tmp_path):
    run = finished_run(tmp_path / "run")
    table = pd.read_parquet(run / "predictions.parquet")
    table[table["split"] != "val"].to_parquet(run / "predictions.parquet")
    with pytest.raises(InputError, match=r"predictions\.parquet lacks the rows of val"):
        FinishedRun(run).parts  # noqa: B018


def test_crystals_at_hand_are_not_read_again(tmp_path):
    run = finished_run(tmp_path / "run")
    samples = read_labelled(RunDir(run).load_config().data)
    (tmp_path / "run.parquet").unlink()
    assert FinishedRun(run, samples).test_samples.ids.tolist() == FinishedRun(run).test.ids.tolist()


def test_an_unfinished_run_is_refused(tmp_path, capsys):
    run = finished_run(tmp_path / "run")
    (run / "test_metrics.json").unlink()
    for arguments, said in (([str(run)], "has not finished"), ([str(tmp_path)], "not the directory of a run")):
        with pytest.raises(SystemExit) as left:
            run_command(main, arguments)
        assert left.value.code == 2
        assert said in capsys.readouterr().err


def test_a_baseline_of_other_classes_is_refused(tmp_path):
    run, other = (FinishedRun(finished_run(tmp_path / name, n)) for name, n in (("run", 3), ("other", 4)))
    with pytest.raises(InputError, match="other classes"):
        recall.against_baseline(run, FigureFolder(tmp_path / "figures"), other)


def test_a_baseline_of_another_test_part_is_told(tmp_path):
    run, other = (FinishedRun(finished_run(tmp_path / f"run{n}", n=n)) for n in (100, 200))
    assert "Its test part is another one" in recall.against_baseline(run, FigureFolder(tmp_path / "figures"), other)


def test_perfect_predictions_have_no_mistakes_to_show(tmp_path):
    run = finished_run(tmp_path / "run", 2)
    predictions = pd.read_parquet(run / "predictions.parquet")
    columns = [f"prob_{name}" for name in ("phase 0", "phase 1")]
    predictions[columns] = np.stack([predictions["target"] == name[5:] for name in columns], axis=1).astype(float)
    predictions.to_parquet(run / "predictions.parquet")
    figures = FigureFolder(tmp_path / "figures")
    assert "None: the class of all" in mistakes.mistakes(FinishedRun(run), figures)
    assert "No test crystal is taken for another class" in recall.confusion(FinishedRun(run), figures)


def test_the_command_writes_it_and_helps_quickly(tmp_path):
    loaded = "import sys; from matcard.report.__main__ import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
    loaded += "print([name for name in ('torch', 'pandas', 'matplotlib', 'jinja2') if name in sys.modules])"
    said = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True).stdout
    assert "--baseline" in said
    assert said.rstrip().endswith("[]")
    run = finished_run(tmp_path / "run", 2)
    main([str(run)])
    text = (run / "report.html").read_text(encoding="utf-8")
    assert "tells 2 classes" in text
    assert "This section is missing" not in text


def test_live_data_is_json(page):
    data = [json.loads(script) for script in page.scripts if script.lstrip().startswith("{")]
    assert len(data) >= 6
    assert all(each["elements"] for each in data)


def test_elements_of_few_crystals_are_no_picture(tmp_path):
    run, figures = FinishedRun(finished_run(tmp_path / "run", 2, n=6)), FigureFolder(tmp_path / "figures")
    assert "No element stands in 5 or more of the" in chemistry.by_element(run, figures)
    assert not list(figures.path.iterdir())
