"""Urls of databases: which are understood, and how they are shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy.engine
import sqlalchemy.exc

from matcard.errors import InputError, nearest_names

if TYPE_CHECKING:
    from sqlalchemy import URL

DRIVERS = {"postgresql": ("psycopg", "psycopg[binary]"), "mysql": ("pymysql", "PyMySQL"), "sqlite": ("pysqlite", "")}
"""Database -> the driver that is taken where the url names none, and the package that has it."""
ALIASES = {"postgres": "postgresql", "mariadb": "mysql"}
_SECRET = {"password", "passwd", "pwd"}


def parse_url(url: str) -> URL:
    """Parse a database's url and choose the driver where none is named.

    Raises:
        InputError: not such a url, or not such a database.
    """
    start, found, _ = url.partition("://")
    if not found:
        raise InputError(f"--storage {url}: expected postgresql://user:password@host/database or sqlite:///path")
    try:
        parsed = sqlalchemy.engine.make_url(url)
    except (sqlalchemy.exc.ArgumentError, ValueError):
        # Neither the url nor the error, which repeats it: what cannot be parsed may hold a password anywhere.
        raise InputError(f"--storage {start}://...: expected {start}://user:password@host:port/database") from None
    name, _, driver = parsed.drivername.partition("+")
    database = ALIASES.get(name, name)
    if database not in DRIVERS:
        raise InputError(f"--storage {start}://...: no such kind of database: {nearest_names(name, DRIVERS)}")
    if set(parsed.query) & _SECRET:
        raise InputError(
            f"--storage {start}://...: put the password before the host ({start}://user:password@host/database), where "
            "it is kept out of messages"
        )
    return parsed.set(drivername=f"{database}+{driver or DRIVERS[database][0]}")


def hidden(url: str) -> str:
    """Give a storage url without its password, to be shown."""
    return parse_url(url).render_as_string(hide_password=True)
