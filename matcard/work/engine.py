"""The engine of studies and comparisons: a pool that is open, and the coordinator that uses it."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING

from matcard.work.cluster import cluster_at, cluster_of
from matcard.work.conduct import conduct
from matcard.work.interruption import Interruption
from matcard.work.pool import Inline

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from rich.console import Console

    from matcard.work.conduct import Agenda
    from matcard.work.pool import Pool


@contextmanager
def engine(jobs: int, scheduler: str | None, folder: Path, console: Console) -> Iterator[Callable[[Agenda], None]]:
    """Open a pool, and give what has an agenda done by it; see `conduct`.

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
        if scheduler is not None:
            pool: Pool = stack.enter_context(cluster_at(scheduler, folder, console))
        elif jobs > 1:
            pool = stack.enter_context(cluster_of(jobs, folder, console))
        else:
            pool = Inline(interruption)
        yield partial(conduct, pool=pool, folder=(folder / "running").resolve(), interruption=interruption)
