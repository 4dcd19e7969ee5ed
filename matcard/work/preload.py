"""What Dask runs first in a worker of ours: Ctrl-C, which a terminal sends to all processes, is the coordinator's."""

from __future__ import annotations

import signal
from typing import Any


def dask_setup(worker: Any) -> None:
    """Ignore SIGINT."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
