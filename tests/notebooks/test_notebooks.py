"""Notebooks: the committed pair is in step and was run from top to bottom, and what it calls still runs."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import jupytext
import matplotlib as mpl
import matplotlib.pyplot as plt
import nbformat
import pytest

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
SCRIPTS = sorted(FOLDER.glob("*.py"))
LARGEST = 600_000
"""Bytes of a notebook with its outputs."""
_ABSOLUTE = re.compile(r"(?<![\w.:/<~-])/[\w.-]+/[\w.-]+|[A-Za-z]:\\\w")


def executed(script):
    return nbformat.read(script.with_suffix(".ipynb"), as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]


def texts(cell):
    """Everything that a cell's outputs say in words."""
    for output in cell.outputs:
        yield output.get("text", "")
        yield from (str(value) for kind, value in output.get("data", {}).items() if kind.startswith("text/"))


def test_there_are_notebooks_and_each_is_a_pair():
    assert len(SCRIPTS) >= 4
    assert [path.stem for path in SCRIPTS] == sorted(path.stem for path in FOLDER.glob("*.ipynb"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_script_and_notebook_say_the_same(script):
    written = [(cell.cell_type, cell.source) for cell in jupytext.read(script).cells]
    assert written == [(cell.cell_type, cell.source) for cell in executed(script).cells], (
        f"run jupytext --to ipynb --execute {script.name} and commit both"
    )


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_outputs_are_of_one_run_from_top_to_bottom_without_errors(script):
    cells = code_cells(executed(script))
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error"]
    assert not [output for output in outputs if output.get("name") == "stderr"]
    figures = {"image/png", "image/svg+xml"}
    assert sum(not figures.isdisjoint(output.get("data", {})) for output in outputs) >= 2, "figures are there"


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_outputs_name_no_place_of_the_machine_and_are_small(script):
    for cell in code_cells(executed(script)):
        for text in texts(cell):
            assert not _ABSOLUTE.search(text), _ABSOLUTE.search(text)
    assert script.with_suffix(".ipynb").stat().st_size < LARGEST


@pytest.mark.parametrize("text", ["in /home/me/x", "C:\\Users", "'/var/folders/q'", "(/opt/a.py)"])
def test_places_of_a_machine_are_told(text):
    assert _ABSOLUTE.search(text)


@pytest.mark.parametrize("text", ["and/or", "runs/first/report.html", "</td></tr>", "2 / 3 / 4", "https://a.org/b"])
def test_other_slashes_are_none(text):
    assert not _ABSOLUTE.search(text)


@pytest.fixture
def elsewhere(tmp_path, tmp_path_factory, monkeypatch):
    """An empty folder as the current one, figures that go nowhere, and the state of pyplot put back."""
    monkeypatch.setenv("MATCARD_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.setenv("MATCARD_NOTEBOOK_SMALL", "1")
    monkeypatch.setenv("MATCARD_RUN_DIR", "")  # set by each run; put back in the end
    monkeypatch.chdir(tmp_path)
    backend = mpl.get_backend()
    mpl.use("agg")
    with plt.rc_context():
        yield tmp_path
    plt.close("all")
    mpl.use(backend)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
@pytest.mark.filterwarnings("ignore:FigureCanvasAgg is non-interactive:UserWarning")
def test_what_a_notebook_calls_still_runs(script, elsewhere, monkeypatch):
    """A quick pass: few crystals, epochs and trials. `python -m pytest --nbmake notebooks` runs them in full."""
    names = runpy.run_path(str(script))
    monkeypatch.chdir(elsewhere)
    assert names.get("SMALL", True) is True
    if "folder" in names:
        names["folder"].cleanup()
