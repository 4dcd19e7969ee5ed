"""All that is said of a classifier on one labelled set: at argmax, at the decision rule, calibrated, with intervals."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from matcard.evaluation.calibration import brier, log_loss, reliability
from matcard.evaluation.confusion import (
    confusion_averages,
    confusion_matrix,
    minority_mask,
)
from matcard.evaluation.metrics import classification_metrics, find_metric, per_class_ranking, ranking_averages
from matcard.evaluation.value import value_metrics

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jaxtyping import Float, Int

    from matcard.evaluation.calibration import Calibration
    from matcard.evaluation.decision import Decision
    from matcard.evaluation.value import ValueMix

RESAMPLED = 30_000_000
"""Scores that are resampled for intervals, some seconds of work."""
RESAMPLES = (100, 1000)
"""Resamples at least and at most: large sets, whose intervals are narrow, get fewer."""
_CHUNK = 250_000
"""Weights held at once: 2 MB, which stays in cache."""


def scored(
    targets: Int[np.ndarray, " n"],
    probabilities: Float[np.ndarray, "n C"],
    *,
    train_counts: Int[np.ndarray, " C"],
    decision: Decision,
    calibration: Calibration,
    seed: int = 0,
) -> dict[str, Any]:
    """Give every metric of one set of predictions, as it stands in `test_metrics.json`.

    Args:
        targets: classes.
        probabilities: as the network gives them.
        train_counts: of the training part.
        decision: rule chosen on validation.
        calibration: a temperature fitted on validation.
        seed: of the bootstrap.

    Returns:
        `matcard.evaluation.metrics.classification_metrics` at argmax, and:

        * `intervals` {metric: (low, high)}: 95 % bootstrap intervals of the averages;
        * `ranking` {class: average_precision, prevalence, roc_auc, at_k}, where `at_k` is a list of k, precision and
          recall;
        * `at_decision`: the metrics at the decision rule, with `rule` and their `intervals`;
        * `reliability` {confidence, accuracy, total}: of the bins of the calibration error;
        * `calibrated`: temperature, log_loss, brier, ece and reliability of the probabilities at the temperature.

    Raises:
        InputError: malformed input.
    """
    score = partial(
        classification_metrics, targets, probabilities, class_names=decision.class_names, train_counts=train_counts
    )
    chosen = decision.apply(probabilities)
    resample = partial(
        bootstrap_intervals,
        targets,
        probabilities,
        train_counts=train_counts,
        resamples=int(np.clip(RESAMPLED // probabilities.size, *RESAMPLES)),
        seed=seed,
    )
    calibrated = calibration.apply(probabilities)
    bins = reliability(targets, calibrated)
    return {
        **score(),
        "intervals": resample(),
        "ranking": per_class_ranking(targets, probabilities, decision.class_names),
        "at_decision": {
            "rule": decision.rule,
            **score(predicted=chosen),
            "intervals": resample(predicted=chosen, ranking=False),
        },
        "reliability": reliability(targets, probabilities)._asdict(),
        "calibrated": {
            "temperature": calibration.temperature,
            "log_loss": log_loss(targets, calibrated),
            "brier": brier(targets, calibrated),
            "ece": bins.ece,
            "reliability": bins._asdict(),
        },
    }


def value_results(
    names: Sequence[str],
    true: Float[np.ndarray, "n V"],
    predicted: Float[np.ndarray, "n V"],
    mix: ValueMix | None,
    *,
    targets: Int[np.ndarray, " n"],
    heads: Float[np.ndarray, "n C"],
) -> dict[str, Any]:
    """Give the errors of the predicted numbers, and how well each source of the classes ranks them.

    Args:
        names: of V numbers.
        true: NaN where a sample has none.
        predicted: in the same units.
        mix: chosen on validation; None where the numbers say nothing of the classes.
        targets: the class of each sample.
        heads: the probabilities of the class head alone.

    Returns:
        `numbers` {column: mae, rmse, r2, values} of the columns that have some; with a mix its `weight`, and
        `average_precision` of the `class_head`, the `number` alone and the `mix`.
    """
    found: dict[str, Any] = {
        "numbers": {
            name: value_metrics(true[:, k], predicted[:, k])
            for k, name in enumerate(names)
            if np.isfinite(true[:, k]).any()
        }
    }
    if mix is None:
        return found
    number = predicted[:, 0]
    sources = {"class_head": heads, "number": mix.of_number(number), "mix": mix(number, heads)}
    found["weight"] = mix.weight
    every = np.ones(heads.shape[1], dtype=bool)
    found["average_precision"] = {
        name: float(ranking_averages(targets, probabilities, every)["average_precision"])
        for name, probabilities in sources.items()
    }
    return found


def bootstrap_intervals(
    targets: Int[np.ndarray, " n"],
    probabilities: Float[np.ndarray, "n C"],
    *,
    train_counts: Int[np.ndarray, " C"],
    predicted: Int[np.ndarray, " n"] | None = None,
    resamples: int = 1000,
    seed: int = 0,
    ranking: bool = True,
) -> dict[str, tuple[float, float]]:
    """Give 95 % percentile intervals of the averages, resampling inside each true class.

    Those of average precision are moved by the bias of the bootstrap (Efron and Tibshirani 1993, chapter 10): of few
    samples that rank low all resamples may be better than the sample.

    Where few samples of a class are all found (or all missed) such an interval is too narrow, since no
    resample differs: read it beside Wilson's interval of that class.

    Args:
        targets: classes.
        probabilities: of the classes.
        train_counts: of the training part.
        predicted: class indices; argmax by default.
        resamples: number of resamples, 1 or more.
        seed: of the resampling.
        ranking: also of the metrics of the order of scores, which do not depend on `predicted` and take nearly all of
            the time.

    Returns:
        (low, high) of accuracy, balanced_accuracy, macro_f1, minority_recall, mcc, g_mean and, with
        `ranking`, roc_auc, average_precision, minority_average_precision; NaN where some resample leaves it undefined.
    """
    minority = minority_mask(np.asarray(train_counts))
    called = probabilities.argmax(axis=1) if predicted is None else predicted
    rng = np.random.default_rng(seed)
    confusion = confusion_matrix(targets, called, num_classes := len(minority))
    # Drawing samples of a class with replacement makes its row multinomial.
    support = confusion.sum(axis=1)
    shares = np.where(support[:, None] > 0, confusion / np.maximum(support, 1)[:, None], np.eye(num_classes))
    confusion = rng.multinomial(support, shares, size=(resamples, num_classes))
    draws = confusion_averages(confusion, minority)
    if ranking:
        chunk = max(1, _CHUNK // len(targets))
        sizes = [min(chunk, resamples - i) for i in range(0, resamples, chunk)]
        weights = (_stratified_weights(rng, targets, size) for size in sizes)
        parts = [ranking_averages(targets, probabilities, minority, weight) for weight in weights]
        found = ranking_averages(targets, probabilities, minority, np.ones((1, len(targets))))
        for name, value in found.items():
            drawn = np.concatenate([part[name] for part in parts])
            # Copies of a sample are ties, which raise average precision: back by what they raise it on average.
            bias = 0.0 if name == "roc_auc" else drawn.mean() - value
            draws[name] = np.clip(drawn - bias, *find_metric(name).bounds)
    return {name: tuple(np.quantile(values, [0.025, 0.975]).tolist()) for name, values in draws.items()}


def _stratified_weights(
    rng: np.random.Generator, targets: Int[np.ndarray, " n"], resamples: int
) -> Float[np.ndarray, "B n"]:
    """Say how often each sample is drawn, as often in all as its class has samples."""
    weights = np.empty((resamples, len(targets)))
    for label in np.unique(targets):
        members = np.flatnonzero(targets == label)
        share = np.full(len(members), 1 / len(members))
        weights[:, members] = rng.multinomial(len(members), share, size=resamples)
    return weights
