"""Ctrl-C, and the SIGTERM that SLURM sends: work is broken off, the books are not."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_PATIENCE = 3
"""So many signals end the process whatever it does."""


class Interruption:
    """Holds signals back, except inside `allowed`, until whoever works here has put its books in order."""

    def __init__(self) -> None:
        self._count = 0
        self._inside = False
        self._before: dict[int, Any] = {}

    @property
    def requested(self) -> bool:
        """Whether a signal has come."""
        return self._count > 0

    def __enter__(self) -> Interruption:
        # Only the main thread gets signals; a process that ignores one (a child, for Ctrl-C) goes on doing so.
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextmanager
    def allowed(self) -> Iterator[None]:
        """Let a signal break off the block by a KeyboardInterrupt."""
        self._inside = True
        try:
            if self.requested:
                raise KeyboardInterrupt
            yield
        finally:
            self._inside = False

    def _handle(self, number: int, frame: object) -> None:
        self._count += 1
        # A second signal, from a process group or an impatient user, must not break what the first one has begun.
        if (self._inside and self._count == 1) or self._count >= _PATIENCE:
            raise KeyboardInterrupt
