"""The cells of a comparison as an agenda: what can be trained now, and what is recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from matcard.comparison.cell import CellJob
from matcard.comparison.experiment import with_sources
from matcard.work.conduct import Item

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from matcard.comparison.cells import Cell, CellStore
    from matcard.comparison.experiment import Experiment
    from matcard.comparison.plan import Plan, Row
    from matcard.work.attempt import Record
    from matcard.work.screen import Screen


class Cells:
    """Has every cell of an experiment trained.

    Args:
        experiment: what is compared.
        plan: of the experiment.
        store: of its cells; those that failed and are of use are made again, after all others.
        screen: shows those that end.
    """

    def __init__(self, experiment: Experiment, plan: Plan, store: CellStore, screen: Screen) -> None:
        self._tasks = {task.name: task for task in experiment.tasks}
        self._plan = plan
        self._store = store
        self._screen = screen
        self._again = store.to_be_made_again()
        store.forget(self._again)
        self._given: dict[str, Cell] = {}

    def next(self, running: Collection[str]) -> Item | None:
        """Give a cell that has not ended; one that failed before, and might fail again, comes last."""
        ready = [row.cell for row in self._plan.rows(self._store.records) if row.record is None]
        ready = [cell for cell in ready if cell.key not in running]
        if not ready:
            return None
        cell = min(ready, key=lambda one: one.key in self._again)
        self._given[cell.key] = cell
        task = self._tasks.get(cell.task)
        data = None if cell.kind == "published" or task is None else with_sources(task.config["data"], task)
        return Item(cell.key, CellJob(cell, data))

    def heard(self, key: str, message: Any) -> Any:
        """Nothing is pruned."""
        return None

    def ended(self, key: str, record: Record, folder: Path | None) -> None:
        """Write the record of a cell."""
        cell = self._given[key]
        self._store.write(cell, record)
        done, record = count_done(self._plan.rows(self._store.records)), self._store.records[key]
        self._screen.ended(f"{cell.label}: {outcome(record)}", done, failed=record["status"] == "failed")


def outcome(record: Record) -> str:
    """Say how a cell ended."""
    if record["status"] == "failed":
        return f"failed: {record['reason']}"
    run = record["runs"][0]
    part = "test" if "test" in run else "val"
    return f"{'test' if part == 'test' else 'validation'} macro-F1 {run[part]['argmax']['macro_f1']:.3f}"


def count_done(rows: list[Row]) -> int:
    """Count the different cells that have ended."""
    return len({row.cell.key for row in rows if row.record is not None})
