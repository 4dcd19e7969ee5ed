"""Crystals: structure files -> validated table -> graphs -> store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matcard._lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "CrystalTable": "table",
        "Crystals": "crystals",
        "GraphOptions": "options",
        "Graphs": "graphs",
        "build_graphs": "graphs",
        "find_faults": "validate",
        "from_atoms": "readers.read",
        "from_structures": "readers.read",
        "iter_crystals": "readers.read",
        "open_crystals": "parsed",
        "open_store": "store",
        "read_crystals": "read",
        "source_exists": "source",
    },
)

if TYPE_CHECKING:
    from matcard.crystals.crystals import Crystals as Crystals
    from matcard.crystals.graphs import Graphs as Graphs
    from matcard.crystals.graphs import build_graphs as build_graphs
    from matcard.crystals.options import GraphOptions as GraphOptions
    from matcard.crystals.parsed import open_crystals as open_crystals
    from matcard.crystals.read import read_crystals as read_crystals
    from matcard.crystals.readers.read import from_atoms as from_atoms
    from matcard.crystals.readers.read import from_structures as from_structures
    from matcard.crystals.readers.read import iter_crystals as iter_crystals
    from matcard.crystals.source import source_exists as source_exists
    from matcard.crystals.store import open_store as open_store
    from matcard.crystals.table import CrystalTable as CrystalTable
    from matcard.crystals.validate import find_faults as find_faults
