"""A worker: takes a cell that nobody works on, runs it, writes it, and goes on until there is none."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from matcard.comparison.cell import attempted, run_network
from matcard.comparison.cells import CellStore
from matcard.comparison.data import TaskData
from matcard.comparison.lease import Leases
from matcard.comparison.plan import Plan

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from matcard.comparison.cells import Cell
    from matcard.comparison.experiment import Experiment
    from matcard.comparison.plan import Row
    from matcard.work.interruption import Interruption
    from matcard.work.life import Heartbeat

LONGEST_PAUSE = 2.0
"""Seconds between two looks of a worker that waits for others."""


@dataclass(frozen=True)
class Folder:
    """Names of what lies in the folder of a comparison."""

    path: Path

    @property
    def cells(self) -> Path:
        """A JSON file for each cell that has ended."""
        return self.path / "cells"

    @property
    def data(self) -> Path:
        """What of each task's source was left out, and what the source was."""
        return self.path / "data"

    @property
    def running(self) -> Path:
        """Checkpoints of the cells that run, to go on with."""
        return self.path / "running"


class Worker:
    """Runs cells of an experiment in this process.

    Args:
        experiment: what is compared.
        folder: of the comparison; other workers may share it.
        retried: failed attempts that are made again.
        heartbeat: how a dead worker is told from a slow one.
    """

    def __init__(
        self,
        experiment: Experiment,
        folder: Folder,
        retried: frozenset[str] = frozenset(),
        heartbeat: Heartbeat | None = None,
    ) -> None:
        self.folder = folder
        self.store = CellStore(folder.cells, retried)
        self.plan = Plan(experiment, self.store)
        self.leases = Leases(folder.running, heartbeat)
        self.data = TaskData(folder.data)

    def work(self, interruption: Interruption, on_round: Callable[[list[Row]], None] | None = None) -> None:
        """Run cells until every one has ended; `on_round` sees all that are known between two.

        Raises:
            KeyboardInterrupt: a signal came; what was trained of the cell is kept up to its last epoch.
        """
        pause = 0.05
        while True:
            rows = self.plan.rows()
            if on_round is not None:
                on_round(rows)
            if interruption.requested:
                raise KeyboardInterrupt
            ready = self.plan.ready(rows)
            if not ready:
                return
            if any(self._taken(cell, interruption) for cell in ready):
                pause = 0.05
            else:
                time.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)

    def _taken(self, cell: Cell, interruption: Interruption) -> bool:
        """Run a cell if nobody else does or has; tell whether it was."""
        with self.leases.held(cell.key) as ours:
            if not ours:
                return False
            record = self.store.read(cell)
            if record is None or (record["status"] == "failed" and self.store.to_be_retried(record)):
                with interruption.allowed():
                    record = attempted(lambda: self._runs(cell))
                self.store.write(cell, record)
                shutil.rmtree(self.folder.running / cell.key, ignore_errors=True)
            return True

    def _runs(self, cell: Cell) -> list[dict[str, Any]]:
        if cell.kind == "published":
            from matcard.comparison.published import reproduce

            return reproduce(cell.config)
        task, tested = self.plan.tasks[cell.task], cell.stage == "test"
        data = self.data.open(task, int(cell.config["seed"]))
        if cell.kind == "rival":
            from matcard.comparison.rivals import run_rival

            return [run_rival(cell.config, data, tested=tested)]
        return [run_network(cell.config, data, tested=tested, folder=self.folder.running / cell.key)]
