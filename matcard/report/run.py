"""The report of a run: its chapters in order, written to `report.html` in the run's directory."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from matcard.report import chemistry, embeddings, mistakes, ranking, recall, summary, training, values
from matcard.report.page import Chapter, FigureFolder, Section, write_page
from matcard.training.finished import FinishedRun

if TYPE_CHECKING:
    from pathlib import Path

    from matcard.data.samples import Samples
    from matcard.report.embeddings import Projection

REPORT = "report.html"
FIGURES = "figures"


def _of_crystals(run: FinishedRun) -> bool:
    return run.has_structures


def _with_diagnostics(run: FinishedRun) -> bool:
    return bool(run.config["trainer"].get("diagnostics"))


def _with_numbers(run: FinishedRun) -> bool:
    return bool(run.metrics.get("values"))


CHAPTERS = (
    Chapter("summary", "Summary", summary.summary),
    Chapter("classes", "Classes", summary.class_counts),
    Chapter("training", "Training", training.learning_curves),
    Chapter("diagnostics", "What the loss did", training.diagnostics, _with_diagnostics),
    Chapter("recall", "Recall of each class", recall.per_class),
    Chapter("confusion", "Confusions", recall.confusion),
    Chapter("decision", "Argmax and the chosen decision", recall.decisions),
    Chapter("baseline", "Against a baseline", recall.against_baseline),
    Chapter("ranking", "Precision and recall", ranking.precision_recall),
    Chapter("calibration", "Calibration", ranking.calibration),
    Chapter("values", "Predicted numbers", values.values, _with_numbers),
    Chapter("elements", "By element", chemistry.by_element, _of_crystals),
    Chapter("systems", "By crystal system", chemistry.by_system, _of_crystals),
    Chapter("sites", "By number of sites", chemistry.by_sites, _of_crystals),
    Chapter("mistakes", "Mistakes", mistakes.mistakes),
    Chapter("map", "Map of the embeddings", embeddings.embedding_map),
    Chapter("magnitude", "Magnitude of the classes", embeddings.magnitude_functions),
    Chapter("left-out", "Left out", summary.left_out),
    Chapter("options", "Options", summary.options),
    Chapter("environment", "Environment", summary.environment),
)


def write_report(
    run_dir: Path,
    *,
    baseline: Path | None = None,
    projection: Projection = "pca",
    samples: Samples | None = None,
) -> Path:
    """Write the report of a finished run, and its figures as PNG and CSV; gives the report's path.

    A chapter that cannot be written says why in its place, with a `MatcardWarning`; the others stand.

    Args:
        run_dir: directory of the run.
        baseline: directory of a run of the same data, usually with cross-entropy, to stand beside this one.
        projection: of the embeddings; `umap` needs the package umap-learn.
        samples: what the run's source holds, where it is at hand; else the source is read again.

    Raises:
        InputError: a directory that holds no finished run, or UMAP without its package.
    """
    embeddings.check_projection(projection)
    run = FinishedRun(run_dir, samples)
    beside = None if baseline is None else FinishedRun(baseline)
    figures = FigureFolder(run.path / FIGURES)
    options: dict[str, dict[str, Any]] = {"baseline": {"baseline": beside}, "map": {"projection": projection}}
    sections = [
        Section(anchor, title, partial(write, run, figures, **options.get(anchor, {})))
        for anchor, title, write, when in CHAPTERS
        if when(run)
    ]
    subtitle = f"{run.config['model']['name']}, {summary.loss_text(run.config['loss'])}, on {run.source}"
    return write_page(run.path / REPORT, run.path.resolve().name, subtitle, sections)
