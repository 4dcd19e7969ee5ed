"""What the rows of a card come from: files of several formats, the Materials Project, 3DSC, code that makes them."""

from __future__ import annotations

import json
import os
import warnings
from datetime import UTC, datetime
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from sklearn.datasets import make_classification

from matcard.cache import cache_dir, code_digest, kept
from matcard.crystals.crystals import objects
from matcard.crystals.read import read_crystals
from matcard.data.download import download_files
from matcard.data.image_files import contents
from matcard.data.perovskites import perovskite_phases
from matcard.errors import InputError, MatcardWarning
from matcard.files import locked, readable, written_whole
from matcard.table_files import INDEX, open_table, read_csv, require_column

if TYPE_CHECKING:
    from collections.abc import Callable

    from matcard.crystals.crystals import Crystals
    from matcard.data.card import Card, Query
    from matcard.data.options import SyntheticOptions

_TABLE = "3DSC_MP.csv"
_COLUMNS = ("formula_sc", "tc", "sc_class", "weight", "cif")
_ROOT = "data/final/MP/"
KEY = "MP_API_KEY"
"""Environment variable with the key of the user's account of the Materials Project."""


def fetch(card: Card) -> dict[str, Path]:
    """Give every file of a card by its name, downloaded if need be and checked; none for what code makes.

    What a database is asked for is asked once and frozen.

    Raises:
        InputError: a file that cannot be had; the message says what came from where, and how to place it by hand.
    """
    return download_files(card) if card.query is None else freeze(card, card.query)


def load_crystals(
    card: Card,
    *,
    deuterium: bool = False,
    jobs: int | None = None,
    progress: Callable[[int, int | None], None] | None = None,
) -> Crystals:
    """Give every row of a card of crystals, downloaded if need be and parsed once.

    Args:
        card: a card of crystals.
        deuterium: whether D in a CIF is read as hydrogen.
        jobs: processes that parse structures, as in joblib (-1: all cores).
        progress: called with the rows parsed and their number, an estimate or None, where they are not yet parsed.

    Raises:
        InputError: files that cannot be had or read.
    """
    if card.format == "generated":
        return perovskite_phases()
    file = next(iter(fetch(card).values()))
    crystals = read_crystals(
        unpack_3dsc(file) if card.format == "3dsc" else file,
        id_column=card.id_column,
        structure_column=card.structure_column,
        deuterium=deuterium,
        jobs=jobs,
        progress=progress,
    )
    require_column(card.target, map(str, crystals.columns), card.name, "target")
    return crystals


def load_frame(card: Card, wanted: SyntheticOptions) -> pd.DataFrame:
    """Give the rows of a card of compositions or of a table, downloaded if need be, or made.

    The columns are those of the files (`card.composition_column` holds formulas as text, or
    `card.feature_columns` numbers), `card.target`, and `part` where the makers of the data set divided it.

    Raises:
        InputError: files that cannot be had or read, a missing column, or parameters that make_classification refuses.
    """
    if card.format == "make_classification":
        return _synthetic(card, wanted)
    files = fetch(card)
    frames = []
    for download in card.urls:
        table = open_table(files[download.file_name])
        assert table is not None  # the ending is .csv, .json or .json.gz
        frame = table.whole().drop(columns=INDEX, errors="ignore")
        frames.append(frame if download.part is None else frame.assign(part=download.part))
    frame = pd.concat(frames, ignore_index=True)
    needed = [card.target, *card.feature_columns, *([card.composition_column] if card.composition_column else [])]
    missing = [column for column in needed if column not in frame]
    if missing:
        raise InputError(f"card {card.name}: no column {missing[0]!r} in its files, only {', '.join(map(str, frame))}")
    return frame


def _synthetic(card: Card, wanted: SyntheticOptions) -> pd.DataFrame:
    """Make rows by scikit-learn's make_classification (I. Guyon, 2003)."""
    parameters: dict[str, Any] = dict(card.parameters)
    if wanted.samples is not None:
        parameters["n_samples"] = wanted.samples
    if wanted.majority is not None:
        others = int(parameters["n_classes"]) - 1
        parameters["weights"] = [wanted.majority] + [(1 - wanted.majority) / others] * others
    try:
        inputs, codes = make_classification(**parameters)
    except (TypeError, ValueError) as error:
        raise InputError(f"card {card.name}: make_classification refuses its parameters: {error}") from error
    names = card.class_names or tuple(map(str, range(int(parameters["n_classes"]))))
    frame = pd.DataFrame(inputs, columns=[f"x{k}" for k in range(inputs.shape[1])])
    return frame.assign(**{card.target: pd.Categorical.from_codes(codes, categories=pd.Index(names))})


def unpack_3dsc(archive: Path) -> Path:
    """Give the crystals of 3DSC(MP) as a table, made once of the archive of its repository and kept in the cache.

    The repository's table names in `cif` a file for each row; the file's name without the ending is the id, and its
    text, where there is one, takes the place of its name. Kept are the columns `formula_sc`, `tc` (K), `sc_class`,
    `weight` and `synth_doped` (the structure was doped by the authors' algorithm).

    Raises:
        InputError: an archive without the table, or a table without these columns.
    """
    stamp = archive.stat()
    decisive = [archive.name, stamp.st_size, stamp.st_mtime_ns, code_digest([Path(__file__)], ())]
    folder, _ = kept(cache_dir() / "unpacked", decisive, f"the table of {archive.name}", partial(_unpack, archive))
    return folder / "3dsc.parquet"


def _unpack(archive: Path, folder: Path) -> dict[str, Any]:
    wanted = contents(archive, lambda name: _ROOT in name and name.endswith((".cif", _TABLE)))
    files = {PurePosixPath(name).name: content for name, content in wanted}
    if _TABLE not in files:
        raise InputError(f"{archive} holds no file {_TABLE}; the repository of 3DSC, with its data, was expected")
    path = folder / _TABLE
    lines = files.pop(_TABLE).splitlines(keepends=True)
    path.write_bytes(b"".join(line for line in lines if not line.startswith(b"#")))
    with readable(path):
        rows = read_csv(path)
    path.unlink()
    missing = [column for column in _COLUMNS if column not in rows]
    if missing:
        raise InputError(f"{_TABLE} of 3DSC has no column {missing[0]!r}; another version than the card names?")
    names = [PurePosixPath(str(cif)).name for cif in rows["cif"]]
    texts = objects(files[name].decode("utf-8", "replace") if name in files else None for name in names)
    ids = [name.removesuffix(".cif") for name in names]
    doped = ["synth_doped" in name for name in names]
    table = rows[list(_COLUMNS)].assign(id=ids, cif=texts, synth_doped=doped)
    table.to_parquet(folder / "3dsc.parquet", index=False)
    return {}


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
    found = frozen_query(path)
    if found.get("query") != _as_json(query):
        raise InputError(
            f"{path} was frozen on {found.get('date', 'an unknown date')} with another query than the card {card.name} "
            "has now; move it away to ask anew"
        )
    return {name: path}


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


def _ask(query: Query) -> tuple[list[Any], str]:
    """Ask the database; give the entries and its version."""
    try:
        from mp_api.client import MPRester
    except ImportError as error:
        raise InputError(
            f"the Materials Project needs mp-api: pip install -e '.[mp]' in matcard's folder ({error})"
        ) from error
    if not (key := os.environ.get(KEY, "").strip()):
        raise InputError(
            "the Materials Project needs the key of an account: get one, free, at https://materialsproject.org/api "
            f"and set {KEY}"
        )
    try:
        with MPRester(api_key=key, use_document_model=False) as database:
            # mp-api expects a range as a tuple; lists of texts stay lists.
            filters = {
                name: tuple(value) if isinstance(value, list) and not any(isinstance(v, str) for v in value) else value
                for name, value in query.filters.items()
            }
            entries = database.materials.summary.search(fields=list(query.fields), all_fields=False, **filters)
            # mp-api has deprecated the method for the attribute.
            return list(entries), str(getattr(database, "db_version", None) or database.get_database_version())
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
    table: pa.Table = pa.Table.from_pylist(
        [{field: _value(field, entry.get(field)) for field in query.fields} for entry in entries]
    )
    with written_whole(path) as beside:
        pq.write_table(table.replace_schema_metadata({_ABOUT: json.dumps(about)}), beside)
    empty = [field for field in query.fields if table[field].null_count == len(table)]
    if empty:
        warnings.warn(f"no entry has a value for {', '.join(empty)}", MatcardWarning, stacklevel=2)


def _value(field: str, value: Any) -> Any:
    """Give what a table can hold: structures become JSON."""
    if field == "structure" and value is not None:
        return json.dumps(value if isinstance(value, dict) else value.as_dict())
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | dict | tuple | set):
        raise InputError(
            f"the field {field!r} of the Materials Project holds no single value; leave it out of the query"
        )
    return str(value)


def _as_json(query: Query) -> dict[str, Any]:
    return {"fields": list(query.fields), "filters": dict(query.filters)}
