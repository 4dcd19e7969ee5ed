"""Graphs: crystals -> the neighbours of their atoms, and batches of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matcard._lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "GraphDataset": "graphs",
        "GraphOptions": "neighbors",
        "Graphs": "graphs",
        "build_graphs": "graphs",
        "open_graphs": "graphs",
    },
)

if TYPE_CHECKING:
    from matcard.graphs.graphs import GraphDataset as GraphDataset
    from matcard.graphs.graphs import Graphs as Graphs
    from matcard.graphs.graphs import build_graphs as build_graphs
    from matcard.graphs.graphs import open_graphs as open_graphs
    from matcard.graphs.neighbors import GraphOptions as GraphOptions
