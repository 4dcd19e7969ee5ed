"""Where tasks run: what the coordinator knows of it, the pool that is this process itself, and which one is taken."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from matcard.errors import TrainingError
from matcard.work.attempt import Wire, attempt
from matcard.work.cluster import Cluster, cluster_at, cluster_of
from matcard.work.conduct import Interruption, conduct

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from rich.console import Console

    from matcard.work.attempt import Job
    from matcard.work.conduct import Agenda

    Answer = Callable[[Path, Any], Any]
    """Gives the coordinator's answer to a message of the attempt in a folder."""


class Inline:
    """This process as the one worker of a pool, which works while it waits; a signal breaks off what runs."""

    def __init__(self, interruption: Interruption) -> None:
        self._interruption = interruption
        self._next: list[tuple[Job, Path]] = []

    def room(self) -> int:
        """Give the number of workers that are free now."""
        return 1 - len(self._next)

    def submit(self, job: Job, folder: Path) -> bool:
        """Have a free worker make an attempt, and tell whether there is one."""
        self._next.append((job, folder))
        return True

    def wait(self, answer: Answer) -> dict[Path, str]:
        """Make the attempt, and give it as over, with nothing that kept it from its end.

        Raises:
            KeyboardInterrupt: a signal came.
        """
        job, folder = self._next.pop()
        with self._interruption.allowed():
            attempt(job, folder, Wire(partial(answer, folder)), alone=True)
        return {folder: ""}


@contextmanager
def engine(jobs: int, scheduler: str | None, folder: Path, console: Console) -> Iterator[Callable[[Agenda], None]]:
    """Give what has an agenda done; see `conduct`. Workers are started when there is something to do.

    Args:
        jobs: processes of this machine; 1 works in this one.
        scheduler: address or file of a running scheduler, whose workers do it instead.
        folder: of the study or comparison, whose lock is held.
        console: told what is waited for.

    Raises:
        InputError: no scheduler, or workers that cannot be used.
        TrainingError: workers that do not start.
    """
    with Interruption() as interruption, ExitStack() as stack:

        @cache
        def pool() -> Inline | Cluster:
            if scheduler is not None:
                return stack.enter_context(cluster_at(scheduler, folder, console))
            if jobs == 1:
                return Inline(interruption)
            try:
                return stack.enter_context(cluster_of(jobs, folder, console))
            except (RuntimeError, TimeoutError) as error:
                if interruption.requested:  # a process that could not yet ignore Ctrl-C has ended by it
                    raise KeyboardInterrupt from error
                raise TrainingError(f"--jobs {jobs}: the workers do not start ({error})") from error

        yield partial(conduct, pool=pool, folder=(folder / "running").resolve(), interruption=interruption)
