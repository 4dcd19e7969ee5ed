"""Crystal graphs as flat arrays, and batches cut from them."""

from __future__ import annotations

from dataclasses import dataclass, fields
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from matcard.crystals.crystals import Crystals, offsets_from_counts
from matcard.crystals.parallel import in_order
from matcard.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from jaxtyping import Bool, Float32, Int, Int8, Int32, Int64, UInt8
    from torch_geometric.data import Batch, Data

    from matcard.crystals.options import GraphOptions

CHUNK_ATOMS = 8192
"""Atoms whose neighbours are searched together: many crystals a numpy call, tens of megabytes."""


@dataclass(frozen=True, eq=False)
class Graphs:
    """N crystal graphs with S atoms and E edges in all, in flat arrays that may be memory-mapped.

    Atoms of crystal i are `node_offsets[i]` to `node_offsets[i + 1]`, its edges `edge_offsets[i]` to
    `edge_offsets[i + 1]`. An edge runs from a neighbour (`source`) to the centre that it is a neighbour of
    (`target`); both count the sites of their own crystal. Edges are sorted by target, then by distance.
    """

    numbers: UInt8[np.ndarray, " S"]
    """Atomic numbers."""
    node_offsets: Int64[np.ndarray, " N+1"]
    """First atom of each crystal, and S."""
    edge_offsets: Int64[np.ndarray, " N+1"]
    """First edge of each crystal, and E."""
    source: Int32[np.ndarray, " E"]
    """Neighbour."""
    target: Int32[np.ndarray, " E"]
    """Centre."""
    distance: Float32[np.ndarray, " E"]
    """Length in angstrom."""
    image: Int8[np.ndarray, "E 3"]
    """Cell of the neighbour, counted in lattice vectors from the centre's."""
    truncated: Int32[np.ndarray, " N"]
    """Atoms whose shell of equal distances at the k-th neighbour was split (`strict`) or dropped (`cut`)."""
    short: Int32[np.ndarray, " N"]
    """Atoms with fewer than k neighbours inside the radius."""
    isolated: Int32[np.ndarray, " N"]
    """Atoms without any edge; they stay in the graph."""

    def __len__(self) -> int:
        return len(self.node_offsets) - 1

    def __getitem__(self, index: int) -> Data:
        """Give crystal `index` as a graph with `z`, `edge_index`, `distance`, `image` and `num_nodes`."""
        import torch
        from torch_geometric.data import Data

        index = int(self._checked([index])[0])
        atoms = slice(*self.node_offsets[index : index + 2])
        edges = slice(*self.edge_offsets[index : index + 2])
        ends = np.stack([self.source[edges], self.target[edges]]).astype(np.int64)
        return Data(
            z=torch.from_numpy(self.numbers[atoms].astype(np.int64)),
            edge_index=torch.from_numpy(ends),
            distance=torch.from_numpy(np.array(self.distance[edges])),
            image=torch.from_numpy(np.array(self.image[edges])),
            num_nodes=int(atoms.stop - atoms.start),
        )

    def batch(self, indices: Int[np.ndarray, " B"] | Sequence[int], *, image: bool = False) -> Batch:
        """Cut the crystals `indices` out as one graph, without a loop over them.

        Args:
            indices: B crystals, in any order.
            image: whether the batch says in which cell a neighbour lies.

        Returns:
            a batch with A atoms and M edges: `z` (A,), `edge_index` (2,M) of neighbours and centres, sorted
            by centre, `distance` (M,) float32 in angstrom, `batch` (A,) the crystal of each atom, `ptr`
            (B+1,) the first atom of each crystal, `image` (M,3) if asked for. Nothing else is read.
        """
        import torch
        from torch_geometric.data import Batch

        chosen = self._checked(indices)
        atoms, atom_counts = _ranges(self.node_offsets, chosen)
        edges, edge_counts = _ranges(self.edge_offsets, chosen)
        ptr = np.concatenate([[0], np.cumsum(atom_counts)])
        shift = np.repeat(ptr[:-1], edge_counts)
        batch = Batch(
            z=torch.from_numpy(self.numbers[atoms].astype(np.int64)),
            edge_index=torch.from_numpy(np.stack([self.source[edges] + shift, self.target[edges] + shift])),
            distance=torch.from_numpy(self.distance[edges]),
            batch=torch.from_numpy(np.repeat(np.arange(len(chosen)), atom_counts)),
            ptr=torch.from_numpy(ptr),
        )
        if image:
            batch.image = torch.from_numpy(self.image[edges])
        return batch

    def _checked(self, indices: Int[np.ndarray, " B"] | Sequence[int]) -> Int64[np.ndarray, " B"]:
        given = np.asarray(indices, dtype=np.int64)
        outside = given[(given < -len(self)) | (given >= len(self))]
        if outside.size:
            raise IndexError(f"crystal {outside[0]} was asked for, there are {len(self)}")
        return np.where(given < 0, given + len(self), given)


def build_graphs(
    crystals: Crystals,
    options: GraphOptions,
    *,
    jobs: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Graphs:
    """Build the graphs of all crystals in memory.

    Args:
        crystals: validated table of structures.
        options: radius, number of neighbours, ties.
        jobs: processes to use, as in joblib: -1 for all cores; None for one, or for what an enclosing
            `joblib.parallel_config` says.
        progress: called with the crystals done and their number after each chunk.

    Raises:
        InputError: when a fractional coordinate is so large that the neighbour's cell cannot be counted.
    """
    parts = []
    for part, done in iter_chunks(crystals, options, jobs=jobs):
        parts.append(part)
        if progress is not None:
            progress(done, len(crystals))
    return join(parts)


def iter_chunks(
    crystals: Crystals, options: GraphOptions, *, start: int = 0, jobs: int | None = None
) -> Iterator[tuple[Graphs, int]]:
    """Build the graphs from crystal `start` on, about `CHUNK_ATOMS` atoms at a time, in order.

    Yields:
        the graphs of the next crystals, and the number of crystals from the first that are done with them.
    """
    from joblib import delayed

    bounds = [start]
    while bounds[-1] < len(crystals):
        full = np.searchsorted(crystals.offsets, crystals.offsets[bounds[-1]] + CHUNK_ATOMS, side="right") - 1
        bounds.append(max(int(full), bounds[-1] + 1))
    tasks = (delayed(_build_chunk)(_slice(crystals, *ends), options) for ends in pairwise(bounds))
    yield from zip(in_order(tasks, jobs), bounds[1:], strict=True)


def join(parts: Iterable[Graphs]) -> Graphs:
    """Put graphs one after another; none gives none."""
    pieces = [EMPTY, *parts]
    joined = {f.name: np.concatenate([getattr(piece, f.name) for piece in pieces]) for f in fields(Graphs)}
    for name in ("node_offsets", "edge_offsets"):
        joined[name] = offsets_from_counts(np.concatenate([np.diff(getattr(piece, name)) for piece in pieces]))
    return Graphs(**joined)


def _slice(crystals: Crystals, first: int, last: int) -> Crystals:
    offsets = np.asarray(crystals.offsets[first : last + 1], dtype=np.int64)
    sites = slice(offsets[0], offsets[-1])
    return Crystals(
        crystals.ids[first:last],
        crystals.lattice[first:last],
        offsets - offsets[0],
        crystals.numbers[sites],
        crystals.frac_coords[sites],
    )


def _build_chunk(crystals: Crystals, options: GraphOptions) -> Graphs:
    """Build the graphs of a few crystals."""
    from matcard.crystals.neighbors import nearest, within_reach

    num_atoms = len(crystals.numbers)
    found = within_reach(crystals, options)
    edges, truncated, short = nearest(found, num_atoms, options)
    crystal = np.repeat(np.arange(len(crystals)), crystals.num_sites)
    of_edge = crystal[edges.target]
    far = np.flatnonzero(np.abs(edges.image).max(axis=1, initial=0) > np.iinfo(np.int8).max)
    if far.size:
        raise InputError(
            f"crystal {crystals.ids[of_edge[far[0]]]}: a neighbour lies more than 127 cells away from its "
            "atom; wrap the fractional coordinates into the cell, or choose a shorter lattice basis"
        )
    first = crystals.offsets[of_edge]
    bare = np.bincount(edges.target, minlength=num_atoms) == 0

    def per_crystal(atoms: Bool[np.ndarray, " S"]) -> Int32[np.ndarray, " N"]:
        return np.bincount(crystal[atoms], minlength=len(crystals)).astype(np.int32)

    return Graphs(
        numbers=np.asarray(crystals.numbers, dtype=np.uint8),
        node_offsets=crystals.offsets,
        edge_offsets=offsets_from_counts(np.bincount(of_edge, minlength=len(crystals))),
        source=(edges.source - first).astype(np.int32),
        target=(edges.target - first).astype(np.int32),
        distance=edges.distance.astype(np.float32),
        image=edges.image.astype(np.int8),
        truncated=per_crystal(truncated),
        short=per_crystal(short),
        isolated=per_crystal(bare),
    )


def _ranges(
    offsets: Int64[np.ndarray, " N+1"], indices: Int64[np.ndarray, " B"]
) -> tuple[Int64[np.ndarray, " M"], Int64[np.ndarray, " B"]]:
    """Give the positions offsets[i] ... offsets[i+1]-1 of every i in turn, and their numbers."""
    first = offsets[indices]
    counts = offsets[indices + 1] - first
    skipped = first - (np.cumsum(counts) - counts)
    return np.repeat(skipped, counts) + np.arange(counts.sum()), counts


EMPTY = Graphs(
    numbers=np.zeros(0, np.uint8),
    node_offsets=np.zeros(1, np.int64),
    edge_offsets=np.zeros(1, np.int64),
    source=np.zeros(0, np.int32),
    target=np.zeros(0, np.int32),
    distance=np.zeros(0, np.float32),
    image=np.zeros((0, 3), np.int8),
    truncated=np.zeros(0, np.int32),
    short=np.zeros(0, np.int32),
    isolated=np.zeros(0, np.int32),
)
