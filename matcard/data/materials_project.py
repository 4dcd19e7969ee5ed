"""The Materials Project: a card's query, asked once through mp-api and frozen to a parquet file."""

from __future__ import annotations

import json
import os
import warnings
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from matcard.data.download import noted_sha256, what_is_wrong, write_note
from matcard.errors import InputError, MatcardWarning
from matcard.files import locked, written_whole

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from matcard.data.card import Card, Query

KEY = "MP_API_KEY"
"""Environment variable with the key of the user's account."""

_DATABASE = "https://api.materialsproject.org"
_ABOUT = b"matcard"  # under which parquet keeps query, date and version


def freeze(card: Card, query: Query) -> dict[str, Path]:
    """Give the frozen answer to a card's query by its name, asked now where it was not yet.

    The file keeps the query, the date and the version of the database; a file of another query is refused.

    Raises:
        InputError: no mp-api, no key, a query that the database refuses or that nothing answers, or a frozen file of
            another query.
    """
    (name,) = card.file_names
    path = card.folder / name
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with locked(path, "asks the Materials Project"):
            if not path.exists():
                _write(path, _ask(query), query)
                write_note(path, _DATABASE)
    _check(path, card, query)
    return {name: path}


def _check(path: Path, card: Card, query: Query) -> None:
    """Raise where a frozen file is of another query, or has changed."""
    found = frozen_query(path)
    if found.get("query") != _as_json(query):
        raise InputError(
            f"{path} was frozen on {found.get('date', 'an unknown date')} with another query than the card {card.name} "
            "has now; move it away to ask anew"
        )
    noted = noted_sha256(path)
    wrong = what_is_wrong(path, {"sha256": noted}, None) if noted else None
    if wrong is not None:
        raise InputError(f"{path} has changed since it was frozen ({wrong}); move it away to ask anew")


def frozen_query(path: Path) -> dict[str, Any]:
    """Give the query, the date and the version of the database that a frozen file keeps.

    Raises:
        InputError: a file that was not frozen by matcard.
    """
    try:
        metadata = pq.read_schema(path).metadata or {}
        return dict(json.loads(metadata[_ABOUT]))
    except (KeyError, ValueError, OSError, pa.ArrowException) as error:
        raise InputError(f"{path} is no frozen query of the Materials Project; move it away to ask anew") from error


def require_key() -> str:
    """Give the user's key.

    Raises:
        InputError: there is none; where to get one is said.
    """
    key = os.environ.get(KEY, "").strip()
    if not key:
        raise InputError(
            "the Materials Project needs the key of an account: get one, free, at https://materialsproject.org/api "
            f"and set {KEY}"
        )
    return key


def _ask(query: Query) -> tuple[list[Any], str]:
    """Ask the database; give the entries and its version."""
    try:
        from mp_api.client import MPRester
    except ImportError as error:
        raise InputError(f"the Materials Project needs mp-api: pip install 'matcard[mp]' ({error})") from error
    try:
        with MPRester(api_key=require_key(), use_document_model=False) as database:
            filters = {name: _bounds(value) for name, value in query.filters.items()}
            entries = database.materials.summary.search(fields=list(query.fields), all_fields=False, **filters)
            # mp-api has deprecated the method for the attribute.
            return list(entries), str(getattr(database, "db_version", None) or database.get_database_version())
    except InputError:
        raise
    except Exception as error:  # mp-api raises errors of its own, of requests and of pydantic
        said = " ".join(str(error).split())
        raise InputError(
            f"the Materials Project gave no answer to the query ({type(error).__name__}: {said:.500})"
        ) from error


def _write(path: Path, answer: tuple[list[Any], str], query: Query) -> None:
    entries, version = answer
    if not entries:
        raise InputError(f"nothing in the Materials Project matches the filters {dict(query.filters)}; widen them")
    about = {
        "query": _as_json(query),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "database_version": version,
    }
    table: pa.Table = pa.Table.from_pylist([_row(entry, query.fields) for entry in entries])
    with written_whole(path) as beside:
        pq.write_table(table.replace_schema_metadata({_ABOUT: json.dumps(about)}), beside)
    empty = [field for field in query.fields if table[field].null_count == len(table)]
    if empty:
        warnings.warn(f"no entry has a value for {', '.join(empty)}", MatcardWarning, stacklevel=2)


def _row(entry: Any, fields: Iterable[str]) -> dict[str, Any]:
    """Give an entry (a dict or a document of emmet) as values that a table holds: structures become JSON."""
    held: Mapping[str, Any] = entry if isinstance(entry, dict) else vars(entry)
    return {field: _value(field, held.get(field)) for field in fields}


def _value(field: str, value: Any) -> Any:
    if field == "structure" and value is not None:
        return json.dumps(value if isinstance(value, dict) else value.as_dict())
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | dict | tuple | set):
        raise InputError(
            f"the field {field!r} of the Materials Project holds no single value; leave it out of the query"
        )
    return str(value)


def _bounds(value: Any) -> Any:
    """Give a range as the tuple that mp-api expects; lists of texts stay lists."""
    return tuple(value) if isinstance(value, list) and not any(isinstance(item, str) for item in value) else value


def _as_json(query: Query) -> dict[str, Any]:
    return {"fields": list(query.fields), "filters": dict(query.filters)}
