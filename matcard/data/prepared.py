"""Prepared data: a folder of arrays that training opens with numpy alone, whatever they were made of."""

from __future__ import annotations

import json
import shutil
import uuid
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from matcard.crystals.arrays import HEADER, Layout, read_arrays, write_header
from matcard.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from matcard.data.labelled import LabelledData
    from matcard.data.options import DataKind
    from matcard.data.row_columns import RowColumns

_ABOUT = "prepared"
"""Key of the header that tells such a folder from another store."""
_SPLIT = "split.json"
_COMMON = ("ids", "codes")


def save_prepared(data: LabelledData, folder: Path) -> None:
    """Write labelled and split samples to a folder that `open_prepared` reads.

    For a machine that has torch, torch-geometric and lightning only, and to prepare once what is trained on often:
    crystals go as graphs with the features of the elements, all else as arrays. The folder is whole or not there.

    Args:
        data: what `matcard.data.prepare.prepare` gives.
        folder: must not exist.

    Raises:
        InputError: the folder exists, or cannot be written.
    """
    if folder.exists():
        raise InputError(f"{folder} exists: name a folder that does not, or remove it")
    beside = folder.with_name(f".{folder.name}-{uuid.uuid4().hex}")
    try:
        beside.mkdir(parents=True)
        about, arrays = _taken_apart(data)
        for name, array in arrays.items():
            np.save(beside / f"{name}.npy", array, allow_pickle=False)
        (beside / _SPLIT).write_text(data.split.to_json(data.ids), encoding="utf-8")
        write_header(beside, {_ABOUT: about})
        beside.rename(folder)
    except OSError as error:
        raise InputError(f"{folder} cannot be written ({error}): make room, or choose another place") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def open_prepared(folder: Path) -> LabelledData:
    """Open what `save_prepared` wrote; arrays are memory-mapped, and checked as a store of graphs is.

    Raises:
        InputError: no such folder, or one that is damaged.
    """
    from matcard.data.splits import Split

    about = _about(folder)
    if about is None:
        raise InputError(f"{folder} is no folder of prepared data: it has no {HEADER} of matcard's, or a damaged one")
    names = [*_COMMON, *about["arrays"]]
    arrays, _ = read_arrays(folder, Layout({name: np.empty(0) for name in names}, {}))
    ids = arrays["ids"].astype(object)
    common: dict[str, Any] = {
        "ids": ids,
        "codes": np.array(arrays["codes"]),
        "class_names": tuple(about["class_names"]),
        "split": Split.from_json(_text(folder / _SPLIT), ids),
        "notes": tuple(about["notes"]),
    }
    if about["kind"] == "crystals":
        from matcard.crystals.options import GraphOptions
        from matcard.crystals.stored import LAYOUT, StoredGraphs
        from matcard.data.labelled import CrystalData

        graphs = StoredGraphs(**{name: arrays[name] for name in LAYOUT.empty}, folder=folder)
        options = GraphOptions(**about["graph_options"])
        return CrystalData(**common, graphs=graphs, graph_options=options, atom_table=arrays["atom_table"])
    from matcard.data.arrays import ArrayData

    return ArrayData(
        **common,
        kind=about["kind"],
        features=tuple(about["features"]),
        made_of=_row_columns(about, folder),
        augment=about["augment"],
        inputs=arrays["inputs"],
        mean=np.array(arrays["mean"]),
        std=np.array(arrays["std"]),
    )


def is_prepared(folder: Path) -> bool:
    """Say whether a path is a folder that `save_prepared` wrote."""
    return _about(folder) is not None


def prepared_kind(folder: Path) -> DataKind:
    """Give what the samples in such a folder are."""
    about = _about(folder)
    assert about is not None
    kind: DataKind = about["kind"]
    return kind


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read ({error}); prepare the data again") from error


def _about(folder: Path) -> dict[str, Any] | None:
    try:
        about = json.loads((folder / HEADER).read_text(encoding="utf-8"))[_ABOUT]
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return about if isinstance(about, dict) else None


def _row_columns(about: dict[str, Any], folder: Path) -> RowColumns | None:
    if "made_of" not in about:
        raise InputError(f"{folder} was prepared by an earlier version, which did not say of what columns: do so again")
    stored = about["made_of"]
    if stored is None:
        return None
    from matcard.data.row_columns import RowColumns

    return RowColumns(**{**stored, "names": tuple(stored["names"])})


def _taken_apart(data: LabelledData) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Give what the header says of the data, and the arrays."""
    from matcard.data.labelled import CrystalData

    common = {"ids": np.array(data.ids.tolist(), dtype=str), "codes": np.asarray(data.codes, np.int64)}
    arrays: dict[str, np.ndarray]
    more: dict[str, Any] = {}
    if isinstance(data, CrystalData):
        from matcard.crystals.atom_features import atom_features
        from matcard.crystals.stored import LAYOUT

        table = atom_features() if data.atom_table is None else data.atom_table
        arrays = {name: getattr(data.graphs, name) for name in LAYOUT.empty} | {"atom_table": table}
        more = {"graph_options": asdict(data.graph_options)}
    else:
        from matcard.data.arrays import ArrayData

        assert isinstance(data, ArrayData)
        arrays = {"inputs": data.inputs, "mean": data.mean, "std": data.std}
        made_of = None if data.made_of is None else asdict(data.made_of)
        more = {"features": list(data.features), "made_of": made_of, "augment": data.augment}
    about = {
        "kind": data.kind,
        "class_names": list(data.class_names),
        "notes": list(data.notes),
        "arrays": list(arrays),
    }
    return {**about, **more}, {**common, **arrays}
