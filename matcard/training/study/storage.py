"""Where a study is stored: a journal file, a database, or a proxy before one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from optuna.storages import BaseStorage

    from matcard.training.study.liveness import Heartbeat


def open_storage(url: str | None, folder: Path, heartbeat: Heartbeat | None = None) -> BaseStorage:
    """Open the storage of studies.

    Args:
        url: None for the journal file `journal.log` in `folder`; `journal:///path/to/file`, `grpc://host:port`,
            `postgresql://user:password@host/database`, `mysql://...` or `sqlite:///path`.
        folder: the study's directory, made where it is missing.
        heartbeat: how a dead worker is told from a slow one.

    Raises:
        InputError: no such storage; what to do is said, and no password.
    """
    raise NotImplementedError
