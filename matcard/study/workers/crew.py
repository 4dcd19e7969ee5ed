"""Several workers on this machine, and the books of their study."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from optuna import logging

from matcard.study.storage.opening import storage_opened
from matcard.study.storage.outage import patiently
from matcard.study.workers.worker import FAILURES_PER_TRIAL, FIRST_FAILURES, Plan, Stop, Worker
from matcard.work.processes import Processes

if TYPE_CHECKING:
    from collections.abc import Callable

    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial

    from matcard.work.interruption import Interruption


class Crew:
    """Runs the trials of a plan in several processes."""

    def __init__(self, plan: Plan, storage: BaseStorage, jobs: int) -> None:
        self._books = Worker(plan, storage)
        self._processes = Processes(partial(_work, plan), jobs, max(FIRST_FAILURES, FAILURES_PER_TRIAL * plan.total))

    def work(self, interruption: Interruption, on_round: Callable[[list[FrozenTrial]], None]) -> Stop:
        """Run trials until all workers have stopped, and give their reason; `on_round` sees all trials now and then.

        Raises:
            KeyboardInterrupt: a signal came; the trials that ran are put back in line.
            InputError, TrainingError: a worker met one.
        """
        self._books.queue.open()
        try:
            return self._processes.run(interruption, lambda: on_round(patiently(self._books.look, interruption)))[-1]
        finally:
            self._books.look()


def _work(plan: Plan, interruption: Interruption) -> Stop:
    logging.set_verbosity(logging.WARNING)
    with storage_opened(plan.url, plan.folder, plan.heartbeat) as storage:
        return Worker(plan, storage).work(interruption, lambda _: None)
