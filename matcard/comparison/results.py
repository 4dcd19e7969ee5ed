"""What is recorded of a training, and what is said of each loss on each data set by it.

The records become `results.parquet`, a row a run; of its rows come means, intervals, differences from the reference and
ranks.
"""

from __future__ import annotations

import json
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from matcard.errors import InputError
from matcard.evaluation import metrics as evaluated
from matcard.evaluation.choice import choose_decision
from matcard.evaluation.decision import argmax
from matcard.evaluation.metrics import Metric
from matcard.evaluation.statistics import corrected_t_test, holm, t_interval
from matcard.training.config import flatten

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from jaxtyping import Float, Int

    from matcard.comparison.experiment import Experiment
    from matcard.comparison.plan import Row
    from matcard.evaluation.decision import DecisionOptions

    Scores = tuple[Int[np.ndarray, " n"], Float[np.ndarray, "n C"]]

PARTS = ("val", "test")
RULES = ("argmax", "decision")
"""From probabilities to classes: the most likely one, or the rule that was chosen on the validation part."""
SIGNIFICANT = 0.05
_K = 100
_PRECISION = f"precision_at_{_K}"

METRICS = {
    **evaluated.METRICS,
    **{f"{of}_shot_recall": Metric(f"recall, {of}-shot classes", True, True) for of in ("many", "medium", "few")},
    _PRECISION: Metric(f"precision@{_K}", True, False),
}
"""What `metrics` of an experiment may name: the metrics of `matcard.evaluation`, and four of groups."""
metric = partial(evaluated.find_metric, known=METRICS)
"""Gives one of them by its name, as `matcard.evaluation.metrics.find_metric` does."""


def rules_of(name: str) -> tuple[str, ...]:
    """Give those of `RULES` that a metric has values at; one of probabilities is the same at all."""
    return RULES if metric(name).of_classes else RULES[:1]


def measured(
    score: Callable[[str], Scores],
    *,
    tested: bool,
    decision: DecisionOptions,
    class_names: Sequence[str],
    train_counts: Int[np.ndarray, " C"],
    drawn_counts: Float[np.ndarray, " C"] | None = None,
) -> dict[str, Any]:
    """Measure the validation part, choose the decision there, and only then, and if so, measure the test part.

    Precision among the 100 highest scores is of class 1 where there are two classes, else the mean over classes with
    samples, each against the rest; undefined with fewer than 100 samples.

    Args:
        score: gives targets and probabilities of a part; it is called once for each.
        tested: whether the test part is looked at.
        decision: options of the rule.
        class_names: C names.
        train_counts: class counts of the training part.
        drawn_counts: how many of each class an epoch draws; as `train_counts` where not given.
    """
    validation = score("val")
    try:
        rule = choose_decision(decision, *validation, class_names, train_counts, drawn_counts)
    except InputError:
        rule = argmax(class_names)  # an aim out of reach; the record has the rule
    found: dict[str, Any] = {
        "train_counts": dict(zip(class_names, map(int, train_counts), strict=True)),
        "decision": {"rule": rule.rule, "gain": rule.gain},
    }
    for part, scores in {"val": validation, **({"test": score("test")} if tested else {})}.items():
        ranking = evaluated.per_class_ranking(*scores, class_names)
        metrics = partial(evaluated.classification_metrics, *scores, class_names=class_names, train_counts=train_counts)
        own = {_PRECISION: _precision_at_k(ranking)}
        found[part] = {
            "argmax": {**by_groups(metrics()), **own},
            "decision": {**by_groups(metrics(predicted=rule.apply(scores[1]))), **own},
            "ranking": ranking,
        }
    return found


def by_groups(metrics: dict[str, Any]) -> dict[str, Any]:
    """Add the recall over many-, medium- and few-shot classes to metrics, by the names that tables know."""
    return {**metrics, **{f"{group}_shot_recall": shot["recall"] for group, shot in metrics["shots"].items()}}


def _precision_at_k(ranking: Mapping[str, Any]) -> float | None:
    classes = list(ranking.values())
    shown = classes[1:] if len(classes) == 2 else [one for one in classes if one["prevalence"]]
    values = [at["precision"] for one in shown for at in one["at_k"] if at["k"] == _K]
    return sum(values) / len(values) if values else None


def column(part: str, rule: str, name: str) -> str:
    """Name the column of a metric of a part, by the rule from probabilities to classes."""
    return f"{part}_{name}" if rule == "argmax" else f"{part}_{name}_at_{rule}"


def results_table(rows: Sequence[Row]) -> pd.DataFrame:
    """Give a row for each cell that has ended, and for those that are missing, with their status.

    Metrics are columns such as `test_macro_f1` (most likely class) and `test_macro_f1_at_decision`; what has no fixed
    number of entries is JSON: `config`, `train_counts` (samples of each class), `recall`, `ranking`, `shots`,
    `decision`, `environment`. A trial's `seed` is that of the split and first weights that it was made with.
    """
    metrics = [column(part, rule, name) for part, rule, name in product(PARTS, RULES, METRICS)]
    columns = [
        *("task", "method", "kind", "stage", "number", "seed", "status", "reason"),
        *metrics,
        *("n_train", "n_val", "n_test", "train_counts"),
        *("best_epoch", "seconds", "decision", "recall", "ranking", "shots", "options"),
        *("config", "config_sha256", "protocol", "data_sha256", "git_commit", "environment"),
    ]
    return pd.DataFrame([_values(row) for row in rows], columns=columns)


def _values(row: Row) -> dict[str, Any]:
    cell, record = row.cell, row.record or {}
    run = record.get("run") or {"seed": cell.config["seed"], "seconds": record.get("seconds")}
    shown = run.get("test") or run.get("val") or {}
    # What distinguishes methods: loss or rival, and the optimiser.
    own = {name: cell.config[name] for name in ("loss", "rival", "optimizer") if name in cell.config}
    texts = {
        "options": flatten(own),
        "config": cell.config,
        "environment": record.get("environment"),
        **{of: {rule: shown[rule][of] for rule in RULES if rule in shown} for of in ("recall", "shots")},
        "ranking": shown.get("ranking"),
        **{name: run.get(name) for name in ("decision", "train_counts")},
    }
    return {
        **{name: getattr(cell, name) for name in ("task", "method", "kind", "stage", "number")},
        "status": row.status,
        "reason": record.get("reason", ""),
        "config_sha256": cell.key,
        "protocol": record.get("protocol"),
        "git_commit": (record.get("environment") or {}).get("git_commit"),
        **{name: run.get(name) for name in ("seed", "best_epoch", "seconds", "data_sha256")},
        **{f"n_{part}": size for part, size in (run.get("sizes") or {}).items()},
        **{
            column(part, rule, name): value
            for part, rule in product(PARTS, RULES)
            for name, value in (run.get(part) or {}).get(rule, {}).items()
            if name in METRICS
        },
        **{name: None if value is None else json.dumps(value, sort_keys=True, ensure_ascii=False)
           for name, value in texts.items()},
    }  # fmt: skip


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
            for rule in rules_of(name):
                values = {label: found[column("test", rule, name)].dropna() for label, found in of_method.items()}
                if not any(map(len, values.values())) and rule == "decision":
                    continue  # of what is undefined one column of dashes is enough
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
    part = part[part["method"] != experiment.reference]
    clear, undecided = part["p_holm"] < SIGNIFICANT, part["p_holm"].isna()
    better = part["difference"] > 0 if metric(name).higher_is_better else part["difference"] < 0
    kinds = {"win": clear & better, "tie": ~clear & ~undecided, "loss": clear & ~better, "undecided": undecided}
    return pd.DataFrame(kinds).groupby(part["method"], sort=False).sum()


def mean_scores(summary: pd.DataFrame, experiment: Experiment, name: str, rule: str) -> pd.DataFrame:
    """Give mean scores, larger being better, of the methods (columns) that have one on every task (rows)."""
    part = summary[(summary["metric"] == name) & (summary["rule"] == rule)]
    table = part.pivot_table(index="task", columns="method", values="mean", sort=False, dropna=False)
    complete = [m.label for m in experiment.methods if m.label in table and table[m.label].notna().all()]
    return table[complete] if metric(name).higher_is_better else -table[complete]


def _mean(name: str, values: Sequence[float], ratio: float) -> dict[str, float]:
    """Give mean and intervals, ending where the metric does."""
    lowest, highest = metric(name).bounds
    corrected, plain = corrected_t_test(values, [0.0] * len(values), ratio), t_interval(values)
    found = {"mean": plain.mean}
    for prefix, (_, low, high, *_) in {"": corrected, "seeds_": plain}.items():
        found |= {f"{prefix}low": np.maximum(low, lowest), f"{prefix}high": np.minimum(high, highest)}
        found[f"{prefix}half"] = high - plain.mean
    return found


def _against(values: pd.Series[Any], reference: pd.Series[Any], ratio: float) -> dict[str, float]:
    shared = values.index.intersection(reference.index)
    own, other = (each[shared].astype(float).to_list() for each in (values, reference))
    corrected, plain = (corrected_t_test(own, other, of) for of in (ratio, 0.0))
    found = {"difference": corrected.mean, "p": corrected.p, "detectable": corrected.detectable}
    for prefix, of in {"": corrected, "seeds_": plain}.items():
        found |= {f"difference_{prefix}low": of.low, f"difference_{prefix}high": of.high}
    return found


def _reason(table: pd.DataFrame, task: str, method: str) -> str:
    """Say why runs of a method on a task failed: those that were to be tested, or all trials before them."""
    part = table[(table["task"] == task) & (table["method"] == method)]
    tested = part[part["stage"] == "test"]
    failed = tested[tested["status"] == "failed"]
    if not len(tested) and len(part) and (part["status"] == "failed").all():
        failed = part
    reasons = failed["reason"].to_list()
    return max(set(reasons), key=reasons.count) if reasons else ""
