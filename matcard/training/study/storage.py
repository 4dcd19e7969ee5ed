"""Where a study is stored: a journal file, a database, or Optuna's gRPC proxy before a database."""

from __future__ import annotations

import os
import sys
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.storages.journal import JournalFileBackend

from matcard.errors import InputError, nearest_names
from matcard.training.study.liveness import Heartbeat
from matcard.training.study.trial_queue import put_back

# Both are safe on NFS; on Windows not every user may make symbolic links.
if sys.platform == "win32":
    from optuna.storages.journal import JournalFileOpenLock as JournalFileLock
else:
    from optuna.storages.journal import JournalFileSymlinkLock as JournalFileLock

if TYPE_CHECKING:
    from optuna.storages import BaseStorage
    from sqlalchemy import URL

JOURNAL = "journal.log"
DRIVERS = {"postgresql": ("psycopg", "psycopg[binary]"), "mysql": ("pymysql", "PyMySQL"), "sqlite": ("pysqlite", "")}
"""Database -> the driver that is taken where the url names none, and the package that has it."""
FORMS = (
    "journal:///path/to/file, grpc://host:port, postgresql://user:password@host/database, mysql://..., sqlite:///path"
)
CONNECT = 10
"""Seconds in which a server must answer."""
GRPC_PORT = 13000
"""Optuna's own default."""
_SECRET = {"password", "passwd", "pwd"}


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
        return _open_journal(folder / JOURNAL)
    scheme, found, rest = url.partition("://")
    if not found:
        raise InputError(f"--storage {url}: expected a url such as {FORMS}")
    if scheme == "journal":
        if not rest:
            raise InputError(f"--storage {url}: names no file; expected journal:///path/to/file")
        return _open_journal(Path(rest))
    if scheme == "grpc":
        return _open_grpc(url)
    return _open_database(url, heartbeat or Heartbeat())


def hidden(url: str) -> str:
    """Give a storage url without its password, to be shown."""
    try:
        return _parsed(url).render_as_string(hide_password=True)
    except InputError:
        return url.partition("://")[0] + "://..."


class MendingLock(JournalFileLock):
    """Optuna's lock of a journal file; under it, half a record left by a killed process is cut off.

    The next record would else be glued to the half one, and no process could read the journal from there on.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self._path = path

    def acquire(self) -> bool:
        """Wait for the lock and mend the file."""
        held = super().acquire()
        cut_half_record(self._path)
        return held


def cut_half_record(path: Path) -> None:
    """Cut off what stands behind a file's last end of line, if anything does."""
    with path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        if size == 0:
            return
        file.seek(size - 1)
        if file.read(1) == b"\n":
            return
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)


def _open_journal(path: Path) -> BaseStorage:
    # Resolved, since the lock is a link beside the file, and one to a relative path would point nowhere: then Optuna
    # never sees that a lock is stale.
    path = path.expanduser().resolve()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return optuna.storages.JournalStorage(JournalFileBackend(str(path), lock_obj=MendingLock(path)))
    except OSError as error:
        raise InputError(f"--storage: the journal file {path} cannot be used ({error.strerror or error})") from error
    except (ValueError, KeyError, TypeError, AssertionError) as error:
        raise InputError(f"--storage: {path} is no journal of an Optuna study; name another file") from error


def _open_grpc(url: str) -> BaseStorage:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or GRPC_PORT
    except ValueError as error:
        raise InputError(f"--storage {url}: {error}; expected grpc://host:port") from error
    if not host or parts.path.strip("/"):
        raise InputError(f"--storage {url}: expected grpc://host:port")
    if find_spec("grpc") is None:
        raise InputError(f"--storage {url}: needs the package grpcio: pip install grpcio protobuf")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        storage = optuna.storages.GrpcStorageProxy(host=host, port=port)
    try:
        storage.wait_server_ready(timeout=CONNECT)
    except ConnectionError as error:
        raise InputError(
            f"--storage {url}: no server answers at {host}:{port}; start one there with "
            "optuna.storages.run_grpc_proxy_server, and look whether host and port are right"
        ) from error
    return storage


def _open_database(url: str, heartbeat: Heartbeat) -> BaseStorage:
    import sqlalchemy.exc

    parsed = _parsed(url)
    shown = parsed.render_as_string(hide_password=True)
    database = parsed.get_backend_name()
    if database == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise InputError(f"--storage {shown}: names no file, so nothing would be kept; expected sqlite:///path")
    options: dict[str, Any] = {"pool_pre_ping": True}
    if database != "sqlite":
        options["connect_args"] = {"connect_timeout": CONNECT}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            storage = optuna.storages.RDBStorage(
                # Optuna fills a template in the url, so braces (in a password, say) are doubled.
                parsed.render_as_string(hide_password=False).replace("{", "{{").replace("}", "}}"),
                engine_kwargs=options,
                heartbeat_interval=heartbeat.interval,
                grace_period=heartbeat.grace,
                heartbeat_stale_trial_callback=put_back,
            )
        return optuna.storages.get_storage(storage)
    except ImportError as error:
        package = DRIVERS[database][1] if database in DRIVERS else f"with the driver {parsed.get_driver_name()}"
        raise InputError(f"--storage {shown}: needs the package {package}: pip install '{package}'") from error
    except (sqlalchemy.exc.NoSuchModuleError, sqlalchemy.exc.ArgumentError) as error:
        raise InputError(f"--storage {shown}: SQLAlchemy has no {parsed.drivername}; expected {FORMS}") from error
    except (sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.StorageInternalError, RuntimeError) as error:
        raise InputError(
            f"--storage {shown}: cannot be opened ({_first_line(error, parsed)}); look whether the server runs, "
            "whether user, password, host and port are right, and whether the database exists (createdb NAME makes one)"
        ) from error


def _parsed(url: str) -> URL:
    """Parse a database's url and choose the driver where none is named.

    Raises:
        InputError: not such a url, or not such a database.
    """
    import sqlalchemy.engine
    import sqlalchemy.exc

    try:
        parsed = sqlalchemy.engine.make_url(url)
    except (sqlalchemy.exc.ArgumentError, ValueError) as error:
        # Not the url itself, nor the error, which repeats it: what cannot be parsed may hold a password anywhere.
        raise InputError(f"--storage {url.partition('://')[0]}://...: not a url; expected {FORMS}") from error
    database, _, driver = parsed.drivername.partition("+")
    database = {"postgres": "postgresql", "mariadb": "mysql"}.get(database, database)
    if database not in DRIVERS:
        raise InputError(
            f"--storage {database}://...: no such storage: {nearest_names(database, ('journal', 'grpc', *DRIVERS))}"
        )
    if set(parsed.query) & _SECRET:
        raise InputError(
            f"--storage {database}://...: put the password before the host ({database}://user:password@host/...), "
            "where it is kept out of messages"
        )
    return parsed.set(drivername=f"{database}+{driver or DRIVERS[database][0]}")


def _first_line(error: Exception, url: URL) -> str:
    """Give the driver's own words, in one line and without the password."""
    cause = getattr(error, "orig", None) or error.__cause__ or error
    text = str(getattr(cause, "orig", None) or cause).strip().splitlines()[0]
    return text.replace(str(url.password), "***") if url.password else text
