"""A storage that is away for a while (a database restarts, a disk is full) costs no trial and ends no worker."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any, TypeVar

from optuna.exceptions import StorageInternalError

if TYPE_CHECKING:
    from collections.abc import Callable

    from matcard.work.interruption import Interruption

Result = TypeVar("Result")
PATIENCE = 600.0
"""Seconds for which a storage may be away."""
LONGEST_PAUSE = 10.0


def patiently(call: Callable[..., Result], interruption: Interruption, *arguments: Any) -> Result:
    """Call until the storage answers, for ten minutes at most, or until a signal comes."""
    until = time.monotonic() + PATIENCE
    pause = 0.5
    while True:
        try:
            return call(*arguments)
        except Exception as error:
            if not is_outage(error) or interruption.requested or time.monotonic() > until:
                raise
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)


def is_outage(error: Exception) -> bool:
    """Tell whether an error says that a storage is away, and not that what was asked of it is wrong."""
    # Only who talks to a proxy has loaded its package.
    grpc = sys.modules.get("grpc")
    if grpc is not None and isinstance(error, grpc.RpcError):
        return bool(error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNKNOWN))
    return isinstance(error, StorageInternalError | OSError)
