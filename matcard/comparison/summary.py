"""From runs to what is said of each loss on each data set: mean, interval, difference from the reference, p value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from matcard.comparison.metrics import higher_is_better, rules_of
from matcard.comparison.rows import column
from matcard.evaluation.statistics import corrected_t_test, holm, t_interval

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matcard.comparison.experiment import Experiment

SIGNIFICANT = 0.05


def summarise(table: pd.DataFrame, experiment: Experiment) -> pd.DataFrame:
    """Give a row for each task, method, metric and rule.

    The columns: `mean`, `low`, `high` of the test part over seeds, the ends within the metric's range, and `half` the
    interval before that; `n` seeds that have a value, of `finished` of all `seeds`; `difference`, `difference_low`,
    `difference_high`, `p` and, corrected for the number of methods, `p_holm`, over the seeds that the reference has;
    `failed`, why runs failed, if any did.

    Args:
        table: as `results_table` gives it.
        experiment: order of tasks and methods, reference, metrics.
    """
    runs = table[table["stage"] == "test"]
    rows = []
    for task in experiment.tasks:
        of_task = runs[runs["task"] == task.name]
        reasons = {method.label: _reason(table, task.name, method.label) for method in experiment.methods}
        for metric in experiment.metrics:
            for rule in rules_of(metric):
                name = column("test", rule, metric)
                by_method = {m.label: _finished(_of(of_task, m.label), name) for m in experiment.methods}
                if all(not len(values) for values in by_method.values()) and rule == "decision":
                    continue  # a protocol without a validation part chooses none
                found: list[dict[str, Any]] = [
                    {
                        "task": task.name,
                        "method": label,
                        "metric": metric,
                        "rule": rule,
                        "seeds": experiment.seeds,
                        "finished": int((_of(of_task, label)["status"] == "finished").sum()),
                        "n": len(values),
                        **_mean(metric, np.asarray(values, dtype=float).tolist()),
                        **_against(values, by_method[experiment.reference], label == experiment.reference, of_task),
                        "failed": reasons[label],
                    }
                    for label, values in by_method.items()
                ]
                for row, p in zip(found, holm([row["p"] for row in found]), strict=True):
                    row["p_holm"] = p
                rows += found
    return pd.DataFrame(rows)


def outcomes(summary: pd.DataFrame, experiment: Experiment, metric: str, rule: str) -> pd.DataFrame:
    """Count data sets where each method is better than the reference, alike, or worse, by the corrected p value."""
    part = summary[(summary["metric"] == metric) & (summary["rule"] == rule)]
    rows = []
    for method in experiment.methods:
        if method.label == experiment.reference:
            continue
        of_method = part[part["method"] == method.label]
        known = of_method[of_method["p_holm"].notna()]
        sign = 1 if higher_is_better(metric) else -1
        clear = known["p_holm"] < SIGNIFICANT
        better = sign * known["difference"] > 0
        counts = {"win": int((clear & better).sum()), "tie": int((~clear).sum()), "loss": int((clear & ~better).sum())}
        rows.append({"method": method.label, **counts, "undecided": len(of_method) - len(known)})
    return pd.DataFrame(rows, columns=["method", "win", "tie", "loss", "undecided"])


def mean_scores(summary: pd.DataFrame, experiment: Experiment, metric: str, rule: str) -> pd.DataFrame:
    """Give mean scores, larger being better, of the methods (columns) that have one on every task (rows)."""
    part = summary[(summary["metric"] == metric) & (summary["rule"] == rule)]
    table = part.pivot_table(index="task", columns="method", values="mean", sort=False, dropna=False)
    complete = [m.label for m in experiment.methods if m.label in table and table[m.label].notna().all()]
    return table[complete] if higher_is_better(metric) else -table[complete]


def _mean(metric: str, values: list[float]) -> dict[str, float]:
    """Give mean and interval; it ends where the metric does: MCC at -1 and 1, other scores at 0 and 1, losses at 0."""
    mean, low, high = t_interval(values)
    lowest, highest = (-1.0 if metric == "mcc" else 0.0), (1.0 if higher_is_better(metric) else np.inf)
    return {"mean": mean, "low": np.maximum(low, lowest), "high": np.minimum(high, highest), "half": high - mean}


def _of(runs: pd.DataFrame, method: str) -> pd.DataFrame:
    return runs[runs["method"] == method]


def _finished(runs: pd.DataFrame, name: str) -> pd.Series[Any]:
    """Give the values of the runs that finished and have one, by seed."""
    done = runs[(runs["status"] == "finished") & runs[name].notna()]
    return done.set_index("seed")[name].astype(float)


def _against(
    values: pd.Series[Any], reference: pd.Series[Any], is_reference: bool, runs: pd.DataFrame
) -> dict[str, float]:
    nothing = dict.fromkeys(("difference", "difference_low", "difference_high", "p"), np.nan)
    shared = values.index.intersection(reference.index)
    if is_reference or not len(shared):
        return nothing
    sizes = runs[["n_test", "n_train"]].dropna().astype(float)
    ratio = float((sizes["n_test"] / sizes["n_train"]).mean())
    found = corrected_t_test(values[shared].to_list(), reference[shared].to_list(), ratio)
    return dict(zip(nothing, found, strict=True))


def _reason(table: pd.DataFrame, task: str, method: str) -> str:
    """Say why runs of a method on a task failed: those that were to be tested, or all trials before them."""
    part = table[(table["task"] == task) & (table["method"] == method)]
    tested = part[part["stage"] == "test"]
    failed = tested[tested["status"] == "failed"]
    if not len(tested) and len(part) and (part["status"] == "failed").all():
        failed = part
    return _commonest(failed["reason"].to_list())


def _commonest(reasons: Sequence[str]) -> str:
    return max(set(reasons), key=reasons.count) if reasons else ""
