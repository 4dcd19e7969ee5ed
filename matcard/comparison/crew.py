"""Several workers on this machine, a process each; a new one takes the place of one that is killed."""

from __future__ import annotations

from functools import partial
from multiprocessing import parent_process
from typing import TYPE_CHECKING, Literal

from matcard.comparison.worker import Folder, Worker
from matcard.work.processes import Processes

if TYPE_CHECKING:
    from collections.abc import Callable

    from matcard.comparison.experiment import Experiment
    from matcard.comparison.plan import Row
    from matcard.work.interruption import Interruption

MOST_DEATHS = 5
"""Workers that may be killed before the comparison gives up."""


class Crew:
    """Works on an experiment in several processes.

    Args:
        experiment: what is compared.
        folder: of the comparison.
        retried: failed attempts that are made again.
        jobs: number of processes.
    """

    def __init__(self, experiment: Experiment, folder: Folder, retried: frozenset[str], jobs: int) -> None:
        self._books = Worker(experiment, folder, retried)
        self._processes = Processes(partial(_work, experiment, folder, retried), jobs, MOST_DEATHS)

    def work(self, interruption: Interruption, on_round: Callable[[list[Row]], None] | None = None) -> None:
        """Work until every cell has ended; `on_round` sees all that are known now and then.

        Raises:
            KeyboardInterrupt: a signal came.
            InputError, TrainingError: a worker met one, ended by itself, or one after another was killed.
        """

        def look() -> None:
            if on_round is not None:
                on_round(self._books.plan.rows())

        self._processes.run(interruption, look)


def _work(
    experiment: Experiment, folder: Folder, retried: frozenset[str], interruption: Interruption
) -> Literal["done"]:
    Worker(experiment, folder, retried).work(interruption, lambda _: _end_with_parent())
    return "done"


def _end_with_parent() -> None:
    """Stop where the process that started this one has gone."""
    parent = parent_process()
    if parent is not None and not parent.is_alive():
        raise KeyboardInterrupt
