"""Metrics that a comparison can show: those of `matcard.evaluation`, and four that a run records in groups."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from matcard.errors import InputError, nearest_names
from matcard.evaluation import metrics as evaluated

if TYPE_CHECKING:
    from collections.abc import Mapping

RULES = ("argmax", "decision")
"""From probabilities to classes: the most likely one, or the rule that was chosen on the validation part."""
_SHOTS = {f"{group}_shot_recall": group for group in ("many", "medium", "few")}
_K = 100
_PRECISION = f"precision_at_{_K}"
_LABELS = {**{name: f"recall, {group}-shot classes" for name, group in _SHOTS.items()}, _PRECISION: f"precision@{_K}"}


def metric_names() -> list[str]:
    """Give the names that `metrics` of an experiment may hold."""
    return [*evaluated.metric_names(), *_LABELS]


def metric_label(name: str) -> str:
    """Give a metric's name as tables and figures write it.

    Raises:
        InputError: no such metric; the nearest names are given.
    """
    return _LABELS[name] if name in _LABELS else evaluated.metric_label(_known(name))


def higher_is_better(name: str) -> bool:
    """Give the direction of a metric.

    Raises:
        InputError: no such metric; the nearest names are given.
    """
    return name in _LABELS or evaluated.higher_is_better(_known(name))


def rules_of(metric: str) -> tuple[str, ...]:
    """Give the rules at which a metric is shown."""
    return RULES[:1] if metric in (*evaluated.metric_names(of_classes=False), _PRECISION) else RULES


def scores_of(part: Mapping[str, Any], rule: str) -> dict[str, float | None]:
    """Give every metric of a part as a run records it (`matcard.comparison.outcome`); None where undefined.

    Precision among the 100 highest scores is of class 1 where there are two classes, else the mean over classes with
    samples, each against the rest; undefined with fewer than 100 samples.
    """
    scores = part.get(rule) or {}
    found = {name: scores[name] for name in evaluated.metric_names() if name in scores}
    if shots := scores.get("shots"):
        found |= {name: shots[group]["recall"] for name, group in _SHOTS.items()}
    if scores and (ranking := part.get("ranking")):
        found[_PRECISION] = _precision_at_k(ranking)
    return found


def _precision_at_k(ranking: Mapping[str, Any]) -> float | None:
    classes = list(ranking.values())
    shown = classes[1:] if len(classes) == 2 else [one for one in classes if one["prevalence"]]
    values = [at["precision"] for one in shown for at in one["at_k"] if at["k"] == _K]
    return sum(values) / len(values) if values else None


def _known(name: str) -> str:
    if name not in metric_names():
        raise InputError(f"unknown metric {name!r}; {nearest_names(name, metric_names())}")
    return name
