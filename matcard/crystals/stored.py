"""Graphs on disk, as memory-mapped arrays."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from matcard.crystals.arrays import Layout, map_arrays, read_arrays
from matcard.crystals.graphs import EMPTY, Graphs

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LAYOUT = Layout(
    {field.name: getattr(EMPTY, field.name) for field in fields(Graphs)},
    offsets={"node_offsets": "numbers", "edge_offsets": "source"},
)


@dataclass(frozen=True, eq=False)
class StoredGraphs(Graphs):
    """Graphs whose arrays are memory-mapped files, read where they are used.

    Pickled (for the worker of a `DataLoader`, say) as the name of the folder, whatever their size.
    """

    folder: Path
    """Where the files are."""

    def __reduce__(self) -> tuple[Callable[..., StoredGraphs], tuple[Any, ...]]:
        return _map, (self.folder,)


def read_store(folder: Path, key: str | None = None) -> StoredGraphs:
    """Open the graphs in `folder`, checked as `matcard.crystals.arrays.read_arrays` does.

    Args:
        folder: the store.
        key: what `matcard.crystals.store.store_key` gives for the content that is expected, if that is known.

    Raises:
        FileNotFoundError: when there is no such folder.
        DamagedStoreError: when something in it is missing, cut off or altered; the message says what.
    """
    return StoredGraphs(**read_arrays(folder, LAYOUT, key)[0], folder=folder)


def _map(folder: Path) -> StoredGraphs:
    return StoredGraphs(**map_arrays(folder, LAYOUT), folder=folder)
