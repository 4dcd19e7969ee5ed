"""`results.parquet`: a row a run, with everything that the tables are made of and that a run is repeated from."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pandas as pd

from matcard.comparison.metrics import RULES, metric_names, scores_of
from matcard.files import written_whole
from matcard.training.config import flatten

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from matcard.comparison.plan import Row

PARTS = ("val", "test", "last_epoch")


def column(part: str, rule: str, metric: str) -> str:
    """Name the column of a metric of a part, by the rule from probabilities to classes."""
    return f"{part}_{metric}" if rule == "argmax" else f"{part}_{metric}_at_{rule}"


def results_table(rows: Sequence[Row]) -> pd.DataFrame:
    """Give a row for each run: of every cell that has ended, and of those that are missing, with their status.

    Metrics are columns such as `test_macro_f1` (most likely class) and `test_macro_f1_at_decision`; what has no fixed
    number of entries is JSON: `config`, `train_counts` (samples of each class), `recall`, `ranking`, `shots`,
    `decision`, `environment`. A trial's `seed` is that of the split and first weights that it was made with.
    """
    return pd.DataFrame([values for row in rows for values in _runs(row)], columns=_columns())


def write_results(table: pd.DataFrame, path: Path) -> None:
    """Write the table whole."""
    with written_whole(path) as beside:
        table.to_parquet(beside, index=False, compression="zstd")  # texts that repeat from row to row


def _columns() -> list[str]:
    about = ["task", "method", "kind", "stage", "number", "seed", "status", "reason"]
    metrics = [column(part, rule, metric) for part in PARTS for rule in RULES for metric in metric_names()]
    sizes = ["n_train", "n_val", "n_test", "train_counts"]
    rest = ["best_epoch", "seconds", "decision", "recall", "ranking", "shots", "options"]
    origin = ["config", "config_sha256", "protocol", "data_sha256", "git_commit", "environment"]
    return [*about, *metrics, *sizes, *rest, *origin]


def _runs(row: Row) -> Iterator[dict[str, Any]]:
    cell, record = row.cell, row.record or {}
    common = {
        "task": cell.task,
        "method": cell.method,
        "kind": cell.kind,
        "stage": cell.stage,
        "number": cell.number,
        "status": row.status,
        "reason": record.get("reason", ""),
        "options": _json(_own_options(dict(cell.config))),
        "config": _json(cell.config),
        "config_sha256": cell.key,
        "protocol": record.get("protocol"),
        "git_commit": (record.get("environment") or {}).get("git_commit"),
        "environment": _json(record.get("environment")),
    }
    # A cell of the published experiment has runs on several tasks, each with its name.
    runs = record.get("runs") or [{"seed": cell.config.get("seed"), "seconds": record.get("seconds")}]
    for run in runs:
        yield {**common, **_of_run(run)}


def _of_run(run: dict[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {"task": run["task"]} if "task" in run else {}
    values |= {name: run.get(name) for name in ("seed", "best_epoch", "seconds", "data_sha256")}
    values |= {f"n_{part}": size for part, size in (run.get("sizes") or {}).items()}
    for part in PARTS:
        for rule in RULES:
            scores = scores_of(run.get(part) or {}, rule)
            values |= {column(part, rule, name): value for name, value in scores.items()}
    test = run.get("test") or run.get("val") or {}
    values["recall"] = _json({rule: test[rule]["recall"] for rule in RULES if rule in test})
    values["shots"] = _json({rule: test[rule]["shots"] for rule in RULES if rule in test})
    values["ranking"] = _json(test.get("ranking"))
    values["decision"] = _json(run.get("decision"))
    values["train_counts"] = _json(run.get("train_counts"))
    return values


def _own_options(config: dict[str, Any]) -> dict[str, Any]:
    """Give what distinguishes methods: loss or rival, and the optimiser."""
    return flatten({name: config[name] for name in ("loss", "rival", "optimizer") if name in config})


def _json(value: Any) -> str | None:
    return None if value is None else json.dumps(value, sort_keys=True, ensure_ascii=False)
