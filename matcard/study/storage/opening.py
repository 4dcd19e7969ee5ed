"""Where a study is stored: a journal file, a database, or Optuna's gRPC proxy before a database."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from optuna.exceptions import ExperimentalWarning
from optuna.storages import GrpcStorageProxy, RDBStorage

from matcard.errors import InputError
from matcard.study.storage.database import CONNECT, open_database, parse_url
from matcard.study.storage.journal import open_journal
from matcard.work.life import Heartbeat

if TYPE_CHECKING:
    from collections.abc import Iterator

    from optuna.storages import BaseStorage

JOURNAL = "journal.log"
FORMS = (
    "journal:///path/to/file, grpc://host:port, postgresql://user:password@host/database, mysql://..., sqlite:///path"
)
GRPC_PORT = 13000
"""Optuna's own default."""


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
    if url is None:
        return open_journal(folder / JOURNAL)
    scheme, found, rest = url.partition("://")
    if not found or not rest:
        raise InputError(f"--storage {url}: expected a url such as {FORMS}")
    if scheme == "journal":
        return open_journal(Path(rest))
    if scheme == "grpc":
        return _open_proxy(url)
    return open_database(url, heartbeat or Heartbeat())


@contextmanager
def storage_opened(url: str | None, folder: Path, heartbeat: Heartbeat | None = None) -> Iterator[BaseStorage]:
    """Open a storage as `open_storage` does, and give its connections back at the end of the block."""
    storage = open_storage(url, folder, heartbeat)
    try:
        yield storage
    finally:
        close_storage(storage)


def close_storage(storage: BaseStorage) -> None:
    """Give a storage's connections back."""
    storage.remove_session()
    if isinstance(storage, GrpcStorageProxy):
        storage.close()
    # Optuna wraps databases in a cache that has no way to close them.
    database = getattr(storage, "_backend", None)
    if isinstance(database, RDBStorage):
        database.engine.dispose()


def hidden(url: str) -> str:
    """Give a storage url without its password, to be shown."""
    if url.startswith(("journal://", "grpc://")):
        return url
    return parse_url(url).render_as_string(hide_password=True)


def _open_proxy(url: str) -> BaseStorage:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or GRPC_PORT
    except ValueError as error:
        raise InputError(f"--storage {url}: expected grpc://host:port ({error})") from error
    if not host or parts.path.strip("/") or parts.username:
        raise InputError("--storage grpc://...: expected grpc://host:port and nothing else")
    if find_spec("grpc") is None:
        raise InputError(f"--storage {url}: needs the package grpcio: pip install grpcio protobuf")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        storage = GrpcStorageProxy(host=host, port=port)
    try:
        storage.wait_server_ready(timeout=CONNECT)
    except ConnectionError as error:
        raise InputError(
            f"--storage {url}: no server answers at {host}:{port}; start one there with "
            "optuna.storages.run_grpc_proxy_server, and look whether host and port are right"
        ) from error
    return storage
