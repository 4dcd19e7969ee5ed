"""Calls spread over processes by joblib, or over a cluster by a backend registered with it."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from joblib import Parallel

_CALLS_A_WORKER = 16


def in_order(calls: Iterable[Any], jobs: int | None) -> Iterator[Any]:
    """Carry out `joblib.delayed` calls, some for each worker at a time, and give their results in order.

    So neither calls nor results pile up, whatever their number; `calls` is drawn from by the caller's thread.

    Args:
        calls: what `joblib.delayed(function)(...)` gives.
        jobs: processes as in joblib: -1 for all cores; None for one, or for what an enclosing
            `joblib.parallel_config` says: its backend may be Dask's or Ray's.
    """
    from joblib import effective_n_jobs

    calls = iter(calls)
    with _pool(jobs) as pool:
        some = _CALLS_A_WORKER * effective_n_jobs(jobs)
        while window := list(islice(calls, some)):
            yield from pool(window)


def _pool(jobs: int | None) -> Parallel:
    from joblib import Parallel

    try:
        return Parallel(n_jobs=jobs, return_as="generator")
    except ValueError:  # Ray's backend gives lists only
        return Parallel(n_jobs=jobs)
