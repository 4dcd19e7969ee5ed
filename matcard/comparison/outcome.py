"""What is recorded of a training: every metric of a part, at the most likely class and at the chosen decision."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from matcard.comparison.cells import digest
from matcard.errors import InputError
from matcard.evaluation.choice import choose_decision
from matcard.evaluation.decision import argmax
from matcard.evaluation.metrics import per_class_ranking
from matcard.evaluation.scoring import metrics_beside_argmax

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from jaxtyping import Float, Int

    from matcard.data.dataset import TrainingSet
    from matcard.evaluation.decision import DecisionOptions

    Scores = tuple[Int[np.ndarray, " n"], Float[np.ndarray, "n C"]]


def measured(
    score: Callable[[str], Scores],
    *,
    tested: bool,
    decision: DecisionOptions,
    class_names: Sequence[str],
    train_counts: Int[np.ndarray, " C"],
) -> dict[str, Any]:
    """Measure the validation part, choose the decision there, and only then, and if so, measure the test part.

    Args:
        score: gives targets and probabilities of a part; it is called once for each.
        tested: whether the test part is looked at.
        decision: options of the rule.
        class_names: C names.
        train_counts: class counts of the training part.
    """
    targets, probabilities = score("val")
    try:
        rule = choose_decision(decision, targets, probabilities, class_names, train_counts)
    except InputError:
        rule = argmax(class_names)  # an aim out of reach; the record has the rule
    found = {"val": (targets, probabilities)} | ({"test": score("test")} if tested else {})
    return {
        "train_counts": dict(zip(class_names, map(int, train_counts), strict=True)),
        "decision": {"rule": rule.rule, "gain": rule.gain},
        **{
            part: {
                **_beside(metrics_beside_argmax(*scores, train_counts=train_counts, decision=rule)),
                "ranking": per_class_ranking(*scores, class_names),
            }
            for part, scores in found.items()
        },
    }


def _beside(metrics: dict[str, Any]) -> dict[str, Any]:
    return {"argmax": metrics["argmax"], "decision": metrics["chosen"]}


def data_sha256(data: TrainingSet) -> str:
    """Give the sha256 of samples and labels, which are the same for every seed, as their division is not."""
    lines = [line for line in data.fingerprint.splitlines() if not line.endswith("  split")]
    return digest(lines)
