"""Studies in a database: PostgreSQL, MySQL, or an SQLite file for one process."""

from __future__ import annotations

import random
import time
import warnings
from typing import TYPE_CHECKING, Any

from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.storages import RDBStorage, get_storage

from matcard.errors import InputError, nearest_names
from matcard.study.workers.queue import put_back

if TYPE_CHECKING:
    from optuna.storages import BaseStorage
    from sqlalchemy import URL

    from matcard.work.life import Heartbeat

DRIVERS = {"postgresql": ("psycopg", "psycopg[binary]"), "mysql": ("pymysql", "PyMySQL"), "sqlite": ("pysqlite", "")}
"""Database -> the driver that is taken where the url names none, and the package that has it."""
ALIASES = {"postgres": "postgresql", "mariadb": "mysql"}
CONNECT = 10
"""Seconds in which a server must answer."""
ATTEMPTS = 5
_SECRET = {"password", "passwd", "pwd"}


def open_database(url: str, heartbeat: Heartbeat) -> BaseStorage:
    """Open a database and make its tables where they are missing.

    Raises:
        InputError: it cannot be opened, or its driver is not installed.
    """
    import sqlalchemy.exc

    parsed = parse_url(url)
    shown = parsed.render_as_string(hide_password=True)
    database = parsed.get_backend_name()
    if database == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise InputError(f"--storage {shown}: names no file, so nothing would be kept; expected sqlite:///path")
    try:
        return get_storage(_with_tables(parsed, heartbeat))
    except (ImportError, sqlalchemy.exc.NoSuchModuleError) as error:
        driver, package = DRIVERS[database]
        known = parsed.get_driver_name() == driver and package
        needed = f"pip install '{package}'" if known else f"install it, or leave +{parsed.get_driver_name()} out"
        raise InputError(f"--storage {shown}: the driver {parsed.get_driver_name()} is missing: {needed}") from error
    except (sqlalchemy.exc.SQLAlchemyError, StorageInternalError, RuntimeError) as error:
        raise InputError(
            f"--storage {shown}: cannot be opened ({_first_line(error, parsed)}); look whether the server runs, "
            "whether user, password, host and port are right, and whether the database exists (createdb NAME makes one)"
        ) from error


def parse_url(url: str) -> URL:
    """Parse a database's url and choose the driver where none is named.

    Raises:
        InputError: not such a url, or not such a database.
    """
    import sqlalchemy.engine
    import sqlalchemy.exc

    start = url.partition("://")[0]
    try:
        parsed = sqlalchemy.engine.make_url(url)
    except (sqlalchemy.exc.ArgumentError, ValueError):
        # Neither the url nor the error, which repeats it: what cannot be parsed may hold a password anywhere.
        raise InputError(f"--storage {start}://...: expected {start}://user:password@host:port/database") from None
    name, _, driver = parsed.drivername.partition("+")
    database = ALIASES.get(name, name)
    if database not in DRIVERS:
        meant = nearest_names(name, ("journal", "grpc", *DRIVERS))
        raise InputError(f"--storage {start}://...: no such kind of storage: {meant}")
    if set(parsed.query) & _SECRET:
        raise InputError(
            f"--storage {start}://...: put the password before the host ({start}://user:password@host/database), where "
            "it is kept out of messages"
        )
    return parsed.set(drivername=f"{database}+{driver or DRIVERS[database][0]}")


def _with_tables(url: URL, heartbeat: Heartbeat) -> RDBStorage:
    import sqlalchemy.exc

    options: dict[str, Any] = {"pool_pre_ping": True}
    if url.get_backend_name() != "sqlite":
        options["connect_args"] = {"connect_timeout": CONNECT}
    for attempt in range(ATTEMPTS):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ExperimentalWarning)
                return RDBStorage(
                    # Optuna fills a template in the url, so braces (in a password, say) are doubled.
                    url.render_as_string(hide_password=False).replace("{", "{{").replace("}", "}}"),
                    engine_kwargs=dict(options),
                    heartbeat_interval=heartbeat.interval,
                    grace_period=heartbeat.grace,
                    heartbeat_stale_trial_callback=put_back,
                )
        except sqlalchemy.exc.DBAPIError as error:
            made_by_others = isinstance(error, sqlalchemy.exc.IntegrityError) or "already exists" in str(error)
            if not made_by_others or attempt == ATTEMPTS - 1:
                raise
            # Workers that start together, as a job array's do, make the same tables at the same time.
            time.sleep(random.SystemRandom().uniform(0.3, 1.5))
    raise AssertionError("unreachable")


def _first_line(error: Exception, url: URL) -> str:
    """Give the driver's own words, in one line and without the password."""
    cause = getattr(error, "orig", None) or error.__cause__ or error
    text = str(getattr(cause, "orig", None) or cause).strip().splitlines()[0]
    return text.replace(str(url.password), "***") if url.password else text
