"""Calls spread over processes by joblib, or over a cluster by a backend registered with it."""

from __future__ import annotations

from itertools import islice, starmap
from typing import TYPE_CHECKING, Any, TypeVar

from joblib import Parallel, delayed, effective_n_jobs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator


Result = TypeVar("Result")

_CALLS_A_WORKER = 16


def in_order(
    function: Callable[..., Result], arguments: Iterable[tuple[Any, ...]], jobs: int | None
) -> Iterator[Result]:
    """Call a function again and again, some times for each worker at once, and give its results in order.

    So neither arguments nor results pile up, whatever their number; `arguments` is drawn from by the caller's thread.

    Args:
        function: of a module, so that it can be sent to a process.
        arguments: of each call.
        jobs: processes as in joblib: 1 for this one, -1 for all cores; None for one, or for what an enclosing
            `joblib.parallel_config` says: its backend may be Dask's or Ray's.
    """
    if jobs == 1:
        yield from starmap(function, arguments)
        return
    calls = starmap(delayed(function), arguments)
    try:
        parallel = Parallel(n_jobs=jobs, return_as="generator")
    except ValueError:  # Ray's backend gives lists only
        parallel = Parallel(n_jobs=jobs)
    with parallel as pool:
        some = _CALLS_A_WORKER * effective_n_jobs(jobs)
        while window := list(islice(calls, some)):
            yield from pool(window)
