"""From runs to what is said of each loss on each data set: mean, intervals, difference from the reference, ranks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from matcard.comparison.results import column, metric
from matcard.evaluation.statistics import compare_ranks, corrected_t_test, holm, t_interval

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matcard.comparison.experiment import Experiment
    from matcard.evaluation.statistics import Ranks

SIGNIFICANT = 0.05


def summarise(table: pd.DataFrame, experiment: Experiment) -> pd.DataFrame:
    """Give a row for each task, method, metric and rule.

    The columns: `mean` of the test part over seeds with two intervals, whose ends lie within the metric's range: `low`
    and `high` for another sample of such data, corrected for resampling, with `half` before that, and `seeds_low`,
    `seeds_high`, `seeds_half` for these data, over the seeds alone; `n` seeds that have a value, of `finished` of all
    `seeds`; `difference` over the seeds that the reference has, with the same two intervals, `p` (of the corrected
    test) and, for the number of methods, `p_holm`, and `detectable`, the smallest true difference that this test finds
    four times in five; `failed`, why runs failed, if any did.

    Args:
        table: as `results_table` gives it.
        experiment: order of tasks and methods, reference, metrics.
    """
    runs = table[table["stage"] == "test"]
    rows = []
    for task in experiment.tasks:
        of_task = runs[runs["task"] == task.name]
        sizes = of_task[["n_test", "n_train"]].dropna().astype(float)
        ratio = float((sizes["n_test"] / sizes["n_train"]).mean())
        reasons = {method.label: _reason(table, task.name, method.label) for method in experiment.methods}
        finished = of_task[of_task["status"] == "finished"]
        of_method = {m.label: finished[finished["method"] == m.label].set_index("seed") for m in experiment.methods}
        for name in experiment.metrics:
            for rule in metric(name).rules:
                values = {label: found[column("test", rule, name)].dropna() for label, found in of_method.items()}
                if not any(map(len, values.values())) and rule == "decision":
                    continue  # a protocol without a validation part chooses none
                reference = values[experiment.reference]
                found: list[dict[str, Any]] = [
                    {
                        "task": task.name,
                        "method": label,
                        "metric": name,
                        "rule": rule,
                        "seeds": experiment.seeds,
                        "finished": len(of_method[label]),
                        "n": len(scores),
                        **_mean(name, scores.astype(float).to_list(), ratio),
                        **_against(scores, reference[:0] if label == experiment.reference else reference, ratio),
                        "failed": reasons[label],
                    }
                    for label, scores in values.items()
                ]
                for row, p in zip(found, holm([row["p"] for row in found]), strict=True):
                    row["p_holm"] = p
                rows += found
    return pd.DataFrame(rows)


def outcomes(summary: pd.DataFrame, experiment: Experiment, name: str, rule: str) -> pd.DataFrame:
    """Count data sets where each method is better than the reference, alike, or worse, by the corrected p value."""
    part = summary[(summary["metric"] == name) & (summary["rule"] == rule)]
    rows = []
    for method in experiment.methods:
        if method.label == experiment.reference:
            continue
        of_method = part[part["method"] == method.label]
        known = of_method[of_method["p_holm"].notna()]
        sign = 1 if metric(name).higher_is_better else -1
        clear = known["p_holm"] < SIGNIFICANT
        better = sign * known["difference"] > 0
        counts = {"win": int((clear & better).sum()), "tie": int((~clear).sum()), "loss": int((clear & ~better).sum())}
        rows.append({"method": method.label, **counts, "undecided": len(of_method) - len(known)})
    return pd.DataFrame(rows, columns=["method", "win", "tie", "loss", "undecided"])


def mean_scores(summary: pd.DataFrame, experiment: Experiment, name: str, rule: str) -> pd.DataFrame:
    """Give mean scores, larger being better, of the methods (columns) that have one on every task (rows)."""
    part = summary[(summary["metric"] == name) & (summary["rule"] == rule)]
    table = part.pivot_table(index="task", columns="method", values="mean", sort=False, dropna=False)
    complete = [m.label for m in experiment.methods if m.label in table and table[m.label].notna().all()]
    return table[complete] if metric(name).higher_is_better else -table[complete]


def ranks_of(scores: pd.DataFrame) -> Ranks | None:
    """Compare methods (columns) by their ranks over tasks (rows); None where there are fewer than two of either."""
    return compare_ranks(scores.to_numpy()) if min(scores.shape) > 1 else None


def _mean(name: str, values: Sequence[float], ratio: float) -> dict[str, float]:
    """Give mean and intervals, ending where the metric does: MCC at -1 and 1, other scores at 0 and 1, losses at 0."""
    lowest, highest = (-1.0 if name == "mcc" else 0.0), (1.0 if metric(name).higher_is_better else np.inf)
    mean = t_interval(values).mean
    found = {"mean": mean}
    corrected = corrected_t_test(values, [0.0] * len(values), ratio)
    for prefix, (_, low, high, *_) in {"": corrected, "seeds_": t_interval(values)}.items():
        found |= {f"{prefix}low": np.maximum(low, lowest), f"{prefix}high": np.minimum(high, highest)}
        found[f"{prefix}half"] = high - mean
    return found


def _against(values: pd.Series[Any], reference: pd.Series[Any], ratio: float) -> dict[str, float]:
    shared = values.index.intersection(reference.index)
    own, other = (each[shared].astype(float).to_list() for each in (values, reference))
    corrected, plain = (corrected_t_test(own, other, of) for of in (ratio, 0.0))
    return {
        "difference": corrected.mean,
        "difference_low": corrected.low,
        "difference_high": corrected.high,
        "difference_seeds_low": plain.low,
        "difference_seeds_high": plain.high,
        "p": corrected.p,
        "detectable": corrected.detectable,
    }


def _reason(table: pd.DataFrame, task: str, method: str) -> str:
    """Say why runs of a method on a task failed: those that were to be tested, or all trials before them."""
    part = table[(table["task"] == task) & (table["method"] == method)]
    tested = part[part["stage"] == "test"]
    failed = tested[tested["status"] == "failed"]
    if not len(tested) and len(part) and (part["status"] == "failed").all():
        failed = part
    reasons = failed["reason"].to_list()
    return max(set(reasons), key=reasons.count) if reasons else ""
