"""A trained run on a new labelled set: its scores, whether the class shares fit, and what correcting them does."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from matcard.data.labels import Labels, numbers_of
from matcard.data.read import read
from matcard.errors import InputError, MatcardWarning, listed
from matcard.evaluation.calibration import estimate_priors, share_shift, with_priors
from matcard.evaluation.figures import write_figures
from matcard.evaluation.metrics import classification_metrics
from matcard.evaluation.printed import print_scores, shares_table
from matcard.evaluation.scoring import scored, value_results
from matcard.files import to_json, written_whole
from matcard.prediction.stream import check_columns, open_table
from matcard.table_files import require_column

if TYPE_CHECKING:
    from pathlib import Path

    from jaxtyping import Float, Float64, Int64
    from rich.console import Console

    from matcard.data.options import DataOptions
    from matcard.data.samples import Progress, Samples
    from matcard.prediction.predictor import Predictor

SURE = 1e-2
"""A chi-square test with a p-value below this says that the class shares differ."""
FEW = 6
"""Classes that a message names."""


@dataclass(frozen=True, eq=False)
class Assessment:
    """What a run does on a labelled set.

    Attributes:
        metrics: of `matcard.evaluation.scoring.scored`, with `shift`, `overlap` (how many samples stood in the training
            part by each of their marks, such as `ids` and `formulas` of crystals, and the `total`; None where that is
            not known), `left_out`; with `values`, those of `value_results` there, where numbers are predicted, and with
            `corrected` where the shares were corrected.
        targets: (N,) classes.
        probabilities: (N, C) as the network gives them.
        table: a row for each sample: `target`, the columns of predictions, and beside each number that is predicted
            `number_<column>`, the true one.
        left_out: `id`, `where`, `reason` and `class` of each row that is not scored.
    """

    metrics: dict[str, Any]
    targets: Int64[np.ndarray, " N"]
    probabilities: Float64[np.ndarray, "N C"]
    table: pd.DataFrame
    left_out: pd.DataFrame

    def write(self, folder: Path, source: str) -> None:
        """Write metrics.json, predictions.parquet, left_out.csv and the figures."""
        with open_table(folder / "predictions.parquet") as append:
            append(self.table)
        with written_whole(folder / "left_out.csv") as beside:
            self.left_out.to_csv(beside, index=False)
        write_figures(folder, self.targets, self.probabilities, self.metrics)
        to_json({"source": source, **self.metrics}, folder / "metrics.json")

    def show(self, console: Console, run: Predictor, folder: Path) -> None:
        """Print the scores, what was left out, what is not new, and whether the class shares fit."""
        metrics, unit = self.metrics, run.kind.unit
        print_scores(console, metrics)
        console.print(shares_table(metrics, run.description.class_counts))
        left, unknown = metrics["left_out"], sum(metrics["left_out"]["unknown"].values())
        if len(self.left_out):
            console.print(
                f"left out: {left['malformed']} malformed, {left['unlabelled']} without a label, {unknown} of unknown "
                f"classes; see {folder / 'left_out.csv'}",
                markup=False,
            )
        console.print(f"written: {folder}", soft_wrap=True, markup=False)
        overlap, shift = metrics["overlap"], metrics["shift"]
        if overlap is None:
            console.print(
                f"whether {unit} of this set stood in training is not known: the model's training.json is missing"
            )
        elif any(overlap[name] for name in run.kind.overlap):
            found_again = " and ".join(f"{overlap[name]} {said}" for name, said in run.kind.overlap.items())
            warnings.warn(
                f"of {overlap['total']} {unit} {found_again} stood in training: on those the scores say little about "
                f"new {unit}",
                MatcardWarning,
                stacklevel=2,
            )
        if shift["p_value"] < SURE:
            offer = "; --prior estimate (or labels, or shares) corrects the probabilities"
            warnings.warn(
                f"the class shares are not those of training: total variation {shift['total_variation']:.3f}, "
                f"chi-square {shift['chi_square']:.1f} (p = {shift['p_value']:.1g}), so that precision, accuracy, F1 "
                f"and MCC do not compare with the test part's{'' if 'corrected' in metrics else offer}",
                MatcardWarning,
                stacklevel=2,
            )


def read_set(
    predictor: Predictor, options: DataOptions, *, leave_out_unknown: bool = False, progress: Progress | None = None
) -> Samples:
    """Read a new set and give each row its class, by the run's own threshold or the run's own classes.

    Args:
        predictor: of one run.
        options: source, columns, jobs; the target is by default that of the run.
        leave_out_unknown: leave rows of classes out that the run does not know, instead of refusing.
        progress: called with the rows parsed and their number, an estimate or None.

    Raises:
        InputError: a source or column that is not there, classes that the run does not know, or no row to use.
    """
    made, kind = predictor.description.target, predictor.kind
    check_columns(kind, options)
    column = options.target or made["column"] or kind.target
    if column is None:
        raise InputError(
            f"--data.target is not given, and {predictor.path} does not name one: name the column of the labels"
        )
    samples = read(replace(options, target=column, kind=kind.name), kind, progress)
    require_column(column, map(str, samples.columns), options.source, "target")
    intervals = tuple(made["edges"]), tuple(made["classes"])
    samples = samples.with_labels(Labels(np.empty(0, np.int64), predictor.class_names, column, *intervals))
    unknown = unknown_classes(samples)
    if unknown and not leave_out_unknown:
        found = listed((f"{name} ({count})" for name, count in unknown.items()), FEW)
        raise InputError(
            f"{options.source} has classes that {predictor.path} does not know: {found}; it knows "
            f"{listed(predictor.class_names, FEW)}. Rename them in the source, or leave these rows out by "
            "--leave-out-unknown"
        )
    if not len(samples.used):
        raise InputError(
            f"{options.source} has no sample with a class of {predictor.path}: {listed(predictor.class_names, FEW)}"
        )
    return samples


def unknown_classes(samples: Samples) -> dict[str, int]:
    """Count the sound rows of each class that is not known, by its name."""
    of_none = samples.sound & (samples.codes < 0) & (samples.texts != "")
    return {str(name): int(count) for name, count in pd.Series(samples.texts[of_none]).value_counts().items()}


def assess(
    predictor: Predictor,
    samples: Samples,
    *,
    prior: str | list[float] | None = None,
    batch_size: int,
    jobs: int | None,
) -> Assessment:
    """Predict a labelled set and score it at argmax and at the decision rule of the run.

    Args:
        predictor: of one run.
        samples: of `read_set`.
        prior: class shares to correct the probabilities for: `labels` counts those of the set, `estimate` takes them
            from its probabilities alone (Saerens et al. 2002), or C numbers.
        batch_size: samples that go through the network together.
        jobs: processes that build graphs.

    Raises:
        InputError: no sample that the network can take.
    """
    used, known = samples.take(samples.used), predictor.description
    found = predictor.read(used, batch_size=batch_size, jobs=jobs)
    if not len(found.positions):
        raise InputError(f"none of {len(used)} {used.kind.unit} can be predicted; the first: {found.faults[0]}")
    targets, probabilities = used.codes[found.positions], found.scores[0].probabilities
    train_counts = np.array(known.class_counts)
    metrics = scored(
        targets, probabilities, train_counts=train_counts, decision=predictor.decision, calibration=known.calibration
    )
    # The number behind the classes, the first, is that of the target, whatever its column is called here.
    assert used.labels is not None, "a labelled set has classes"
    columns = list(predictor.values)
    if known.mix is not None:
        columns[0] = used.labels.target
    numbers = np.full((len(used), len(columns)), np.nan)
    for k, name in enumerate(columns):
        if name in used.columns:
            numbers[:, k] = numbers_of(used.columns[name], f"column {name!r}", used.where)
    if predictor.values:
        metrics["values"] = value_results(
            predictor.values,
            numbers[found.positions],
            found.scores[0].numbers,
            known.mix,
            targets=targets,
            heads=found.scores[0].heads,
        )
    faults = samples.faults.copy()
    faults[samples.used] = found.faults
    left_out = replace(samples, faults=faults)
    overlap, trained = None, predictor.members[0].marks
    if trained is not None:
        known_marks = {name: set(texts) for name, texts in trained.items()}
        marks = used.kind.marks(used).items()
        overlap = {name: sum(text in known_marks[name] for text in texts) for name, texts in marks}
        overlap["total"] = len(used)
    metrics |= {
        "shift": share_shift(train_counts, np.bincount(targets, minlength=len(known.class_names))),
        "overlap": overlap,
        "left_out": {
            "malformed": int((~left_out.sound).sum()),
            "unlabelled": int((samples.sound & (samples.texts == "")).sum()),
            "unknown": unknown_classes(samples),
        },
    }
    if prior is not None:
        metrics["corrected"] = corrected(predictor, targets, probabilities, prior)
    table = predictor.lay_out(used, found)
    for k, name in enumerate(predictor.values):
        table.insert(table.columns.to_list().index(f"value_{name}"), f"number_{name}", numbers[:, k])
    table.insert(2, "target", np.array(known.class_names, dtype=object)[used.codes])
    return Assessment(metrics, targets, probabilities, table, left_out.left_out)


def corrected(
    predictor: Predictor,
    targets: Int64[np.ndarray, " N"],
    probabilities: Float[np.ndarray, "N C"],
    prior: str | list[float],
) -> dict[str, Any]:
    """Give the metrics of the most likely class, where the probabilities are corrected for other class shares.

    The correction supposes probabilities that follow the shares of training, which those of a loss that reweights do
    not: they are made so by the temperature and the bias of each class that were fitted on validation.

    Returns:
        the metrics, `shares` {class: share}, and `prior`, how they were come by.
    """
    known = predictor.description
    names, train_counts = known.class_names, np.array(known.class_counts)
    calibrated = known.bias_corrected.apply(probabilities)
    if prior == "estimate":
        shares = estimate_priors(calibrated, train_counts)
    elif prior == "labels":
        shares = np.bincount(targets, minlength=len(names)).astype(np.float64)
    else:
        shares = np.array(prior, dtype=np.float64)
    adjusted = with_priors(calibrated, train_counts, shares)
    metrics = classification_metrics(targets, adjusted, class_names=names, train_counts=train_counts)
    given = prior if isinstance(prior, str) else "given"
    return {"prior": given, "shares": dict(zip(names, (shares / shares.sum()).tolist(), strict=True)), **metrics}
