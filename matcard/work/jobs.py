"""A given set of jobs as an agenda: each is done once, whether it ends well or not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from matcard.work.conduct import Item

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from pathlib import Path

    from matcard.work.attempt import Job, Record


class Jobs:
    """Jobs by name.

    Args:
        jobs: in the order in which they begin.
        on_end: called with the name, the record and the folder of each; see `Agenda.ended`.
    """

    def __init__(self, jobs: Mapping[str, Job], on_end: Callable[[str, Record, Path | None], None]) -> None:
        self._left = dict(jobs)
        self._on_end = on_end

    def next(self, running: Collection[str]) -> Item | None:
        """Give the first that is left."""
        return next((Item(name, job) for name, job in self._left.items() if name not in running), None)

    def heard(self, key: str, message: Any) -> Any:
        """Nothing is pruned."""
        return None

    def ended(self, key: str, record: Record, folder: Path | None) -> None:
        """Hand the record on."""
        del self._left[key]
        self._on_end(key, record, folder)
