"""Where a study's trials are recorded: a journal file in its directory, or a database. One process writes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy.engine
import sqlalchemy.exc
from optuna.exceptions import StorageInternalError
from optuna.storages import JournalStorage, RDBStorage, get_storage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

from matcard.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from optuna.storages import BaseStorage
    from sqlalchemy import URL

JOURNAL = "journal.log"
CONNECT = 10
"""Seconds in which a server must answer."""
DRIVERS = {"postgresql": "psycopg", "mysql": "pymysql"}
"""Database -> the driver that is taken where the url names none; the extra `database` has them."""
_SECRET = {"password", "passwd", "pwd"}


def open_storage(url: str | None, folder: Path) -> BaseStorage:
    """Open the storage of a study, by its coordinator alone; a journal file is mended where a writer was killed.

    Args:
        url: None for the journal file in `folder`; `postgresql://user:password@host/database`, `mysql://...` or
            `sqlite:///path`.
        folder: the study's directory.

    Raises:
        InputError: no such storage, or something else; what to do is said, and no password.
    """
    if url is not None:
        return open_database(url)
    path = (folder / JOURNAL).resolve()
    try:
        path.with_name(path.name + ".lock").unlink(missing_ok=True)
        cut_half_record(path)
        # Not every user of Windows may make the symbolic link of Optuna's usual lock.
        return JournalStorage(JournalFileBackend(str(path), lock_obj=JournalFileOpenLock(str(path))))
    except OSError as error:
        raise InputError(f"the study's {path} cannot be used ({error.strerror or error})") from error
    except (ValueError, KeyError, TypeError, AssertionError) as error:
        raise InputError(
            f"{path} is no journal of an Optuna study, or a damaged one ({error}); name another --study, or leave out "
            "the damaged line of a copy"
        ) from error


def cut_half_record(path: Path) -> None:
    """Cut off what stands behind a file's last end of line: the next record would be glued to it, and both be lost."""
    if not path.exists():
        return
    with path.open("r+b") as file:
        text = file.read()
        if text.startswith(b"{"):
            file.truncate(text.rfind(b"\n") + 1)


def open_database(url: str) -> BaseStorage:
    """Open a database and make its tables where they are missing.

    Raises:
        InputError: it cannot be opened, or its driver is not installed.
    """
    parsed = parse_url(url)
    shown, database = parsed.render_as_string(hide_password=True), parsed.get_backend_name()
    if database == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise InputError(f"--storage {shown}: names no file, so nothing would be kept; expected sqlite:///path")
    options = {"connect_args": {"connect_timeout": CONNECT}} if database in DRIVERS else {}
    try:
        # Optuna fills a template in the url, so braces (in a password, say) are doubled.
        text = parsed.render_as_string(hide_password=False).replace("{", "{{").replace("}", "}}")
        return get_storage(RDBStorage(text, engine_kwargs={"pool_pre_ping": True, **options}))
    except (ImportError, sqlalchemy.exc.NoSuchModuleError) as error:
        raise InputError(
            f"--storage {shown}: there is no driver {parsed.drivername} ({error}); pip install -e '.[database]' has "
            f"those of {' and '.join(DRIVERS)}"
        ) from error
    except (sqlalchemy.exc.SQLAlchemyError, StorageInternalError, RuntimeError) as error:
        raise InputError(
            f"--storage {shown}: cannot be opened ({_first_line(error, parsed)}); look whether the server runs, "
            "whether user, password, host and port are right, and whether the database exists (createdb NAME makes one)"
        ) from error


def parse_url(url: str) -> URL:
    """Parse a database's url and choose the driver where none is named.

    Raises:
        InputError: not such a url.
    """
    try:
        parsed = sqlalchemy.engine.make_url(url)
    except (sqlalchemy.exc.ArgumentError, ValueError):
        # Neither the url nor the error, which repeats it: what cannot be parsed may hold a password anywhere.
        raise InputError(
            "--storage: expected postgresql://user:password@host:port/database, mysql://... or sqlite:///path"
        ) from None
    if set(parsed.query) & _SECRET:
        raise InputError(
            f"--storage {parsed.drivername}://...: put the password before the host (user:password@host), where it is "
            "kept out of messages"
        )
    driver = DRIVERS.get(parsed.drivername)
    return parsed.set(drivername=f"{parsed.drivername}+{driver}") if driver else parsed


def close_storage(storage: BaseStorage) -> None:
    """Give a storage's connections back."""
    storage.remove_session()
    # Optuna wraps databases in a cache that has no way to close them.
    database = getattr(storage, "_backend", None)
    if isinstance(database, RDBStorage):
        database.engine.dispose()


def _first_line(error: Exception, url: URL) -> str:
    """Give the driver's own words, in one line and without the password."""
    cause = getattr(error, "orig", None) or error.__cause__ or error
    text = str(getattr(cause, "orig", None) or cause).strip().splitlines()[0]
    return text.replace(str(url.password), "***") if url.password else text
