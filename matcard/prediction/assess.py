"""A trained run on a new labelled set: its scores, whether the class shares fit, and what correcting them does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from matcard.errors import InputError, listed
from matcard.evaluation.calibration import estimate_priors, share_shift, with_priors
from matcard.evaluation.metrics import classification_metrics
from matcard.evaluation.scoring import scored
from matcard.prediction.ensemble import Ensemble
from matcard.prediction.inputs.base import Rows
from matcard.prediction.labelled import training_overlap
from matcard.prediction.run import BATCH_SIZE

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from jaxtyping import Float, Float64, Int64

    from matcard.prediction.labelled import LabelledSet
    from matcard.prediction.run import Run

LABELS, ESTIMATE = "labels", "estimate"
"""Where the shares of `--prior` come from: the labels of the new set, or its probabilities alone."""
SURE = 1e-2
"""A chi-square test with a p-value below this says that the class shares differ."""


@dataclass(frozen=True, eq=False)
class Assessment:
    """What a run does on a labelled set.

    Attributes:
        metrics: of `matcard.evaluation.scoring.scored`, with `shift`, `overlap`, `left_out` and, where the shares were
            corrected, `corrected`.
        targets: (N,) classes.
        probabilities: (N, C) as the network gives them.
        table: a row for each sample: `target`, and the columns of predictions.
        left_out: `id`, `where`, `reason` and `class` of each row that is not scored.
        shares_differ: the chi-square test is sure that the class shares are not those of training.
    """

    metrics: dict[str, Any]
    targets: Int64[np.ndarray, " N"]
    probabilities: Float64[np.ndarray, "N C"]
    table: pd.DataFrame
    left_out: pd.DataFrame
    shares_differ: bool


def assess(
    run: Run,
    labelled: LabelledSet,
    *,
    prior: str | list[float] | None = None,
    batch_size: int = BATCH_SIZE,
    jobs: int | None = None,
) -> Assessment:
    """Predict a labelled set and score it at argmax and at the decision rule of the run.

    Args:
        run: loaded.
        labelled: of `matcard.prediction.labelled.read_labelled_set`.
        prior: class shares to correct the probabilities for: `labels` counts those of the set, `estimate` takes them
            from its probabilities alone (Saerens et al. 2002), or C numbers.
        batch_size: samples that go through the network together.
        jobs: processes that build graphs.

    Raises:
        InputError: no sample that the network can take, or shares that do not fit the classes.
    """
    import pandas as pd

    samples, codes = labelled.samples, labelled.codes
    ensemble = Ensemble([run])
    rows = Rows(labelled.ids.tolist(), [""] * len(samples), samples, np.full(len(samples), None, dtype=object))
    readings = ensemble.read(rows.samples, rows.errors, batch_size=batch_size, jobs=jobs)
    if not len(readings.positions):
        raise InputError(f"none of {len(samples)} {run.inputs.unit} can be predicted; the first: {readings.errors[0]}")
    targets, probabilities = codes[readings.positions], readings.reads[0].probabilities
    known = run.description
    train_counts = np.array(known.class_counts)
    metrics = scored(
        targets, probabilities, train_counts=train_counts, decision=known.decision, temperature=known.temperature
    )
    shift = share_shift(train_counts, np.bincount(targets, minlength=len(known.class_names)))
    overlap = training_overlap(run, samples)
    metrics |= {
        "shift": shift._asdict(),
        "overlap": overlap,
        "left_out": {
            "malformed": labelled.malformed + len(samples) - len(targets),
            "unlabelled": labelled.unlabelled,
            "unknown": labelled.unknown,
        },
    }
    if prior is not None:
        metrics["corrected"] = corrected(run, targets, probabilities, prior)
    table = ensemble.lay_out(rows, readings)
    table.insert(2, "target", np.array(known.class_names, dtype=object)[codes])
    refused = table.loc[table["error"].notna(), ["id", "error", "target"]].assign(source=labelled.source)
    refused = refused.rename(columns={"source": "where", "error": "reason", "target": "class"})
    left_out = pd.concat([labelled.left_out, refused], ignore_index=True)
    return Assessment(metrics, targets, probabilities, table, left_out, shift.p_value < SURE)


def corrected(
    run: Run, targets: Int64[np.ndarray, " N"], probabilities: Float[np.ndarray, "N C"], prior: str | list[float]
) -> dict[str, Any]:
    """Give the metrics of the most likely class, where the probabilities are corrected for other class shares.

    The correction supposes probabilities that follow the shares of training, which those of a loss that reweights do
    not: they are made so by the temperature and the bias of each class that were fitted on validation.

    Returns:
        the metrics, `shares` {class: share}, and `prior`, how they were come by.

    Raises:
        InputError: shares that do not fit the classes.
    """
    check_prior(prior, run.class_names)
    known = run.description
    names, train_counts = known.class_names, np.array(known.class_counts)
    calibrated = known.bias_corrected.apply(probabilities)
    if prior == ESTIMATE:
        shares = estimate_priors(calibrated, train_counts)
    elif prior == LABELS:
        shares = np.bincount(targets, minlength=len(names)).astype(np.float64)
    else:
        shares = np.array(prior, dtype=np.float64)
    adjusted = with_priors(calibrated, train_counts, shares)
    metrics = classification_metrics(targets, adjusted, class_names=names, train_counts=train_counts)
    given = prior if isinstance(prior, str) else "given"
    return {"prior": given, "shares": dict(zip(names, (shares / shares.sum()).tolist(), strict=True)), **metrics}


def check_prior(prior: str | list[float] | None, class_names: Sequence[str]) -> None:
    """Tell before anything is read that shares do not fit the classes.

    Raises:
        InputError: another number of them.
    """
    if isinstance(prior, list) and len(prior) != len(class_names):
        raise InputError(
            f"--prior has {len(prior)} numbers for {len(class_names)} classes: give one for each of "
            f"{listed(class_names)}"
        )
