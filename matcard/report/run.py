"""The report of a run: its chapters in order, written to `report.html` in the run's directory."""

from __future__ import annotations

from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from matcard.errors import InputError
from matcard.report import chemistry, embeddings, mistakes, ranking, recall, summary, training
from matcard.report.page import FigureFolder, Section, write_page
from matcard.training.finished import FinishedRun

if TYPE_CHECKING:
    from pathlib import Path

    from matcard.data.samples import Samples
    from matcard.report.embeddings import Projection

REPORT = "report.html"
FIGURES = "figures"


CHAPTERS: tuple[tuple[Any, ...], ...] = (
    ("summary", "Summary", summary.summary),
    ("classes", "Classes", summary.class_counts),
    ("training", "Training", training.learning_curves),
    ("recall", "Recall of each class", recall.per_class),
    ("confusion", "Confusions", recall.confusion),
    ("decision", "Argmax and the chosen decision", recall.decisions),
    ("baseline", "Against a baseline", recall.against_baseline, "baseline"),
    ("ranking", "Precision and recall", ranking.precision_recall),
    ("calibration", "Calibration", ranking.calibration),
    ("values", "Predicted numbers", ranking.values, "values"),
    ("elements", "By element", chemistry.by_element, "structures"),
    ("systems", "By crystal system", chemistry.by_system, "structures"),
    ("sites", "By number of sites", chemistry.by_sites, "structures"),
    ("mistakes", "Mistakes", mistakes.mistakes),
    ("map", "Map of the embeddings", embeddings.embedding_map),
    ("magnitude", "Magnitude of the classes", embeddings.magnitude_functions),
    ("left-out", "Left out", summary.left_out),
    ("options", "Options", summary.options),
    ("environment", "Environment", summary.environment),
)
"""The anchor, the title and the function of each chapter, and what a run must have for it, where that is anything."""


def write_report(
    run_dir: Path,
    *,
    baseline: Path | None = None,
    projection: Projection = "pca",
    samples: Samples | None = None,
) -> Path:
    """Write the report of a finished run, and its figures as SVG and CSV; gives the report's path.

    A chapter that cannot be written says why in its place, with a `MatcardWarning`; the others stand.

    Args:
        run_dir: directory of the run.
        baseline: directory of a run of the same data, usually with cross-entropy, to stand beside this one.
        projection: of the embeddings; `umap` needs the package umap-learn.
        samples: what the run's source holds, where it is at hand; else the source is read again.

    Raises:
        InputError: a directory that holds no finished run, or UMAP without its package.
    """
    if projection == "umap" and find_spec("umap") is None:  # told before anything is drawn
        raise InputError("a map by UMAP needs a package that is missing: pip install umap-learn")
    run = FinishedRun(run_dir, samples)
    beside = None if baseline is None else FinishedRun(baseline)
    figures = FigureFolder(run.path / FIGURES)
    options: dict[str, dict[str, Any]] = {"baseline": {"baseline": beside}, "map": {"projection": projection}}
    has = {
        "structures": run.has_structures,
        "baseline": beside,
        "values": run.metrics.get("values"),
    }
    sections = [
        Section(anchor, title, partial(write, run, figures, **options.get(anchor, {})))
        for anchor, title, write, *needs in CHAPTERS
        if all(has[name] for name in needs)
    ]
    subtitle = f"{run.config['model']['name']}, {summary.loss_text(run.config['loss'])}, on {run.source}"
    return write_page(run.path / REPORT, run.path.resolve().name, subtitle, sections)
