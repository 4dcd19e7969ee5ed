"""Crystal graphs as flat arrays, and batches cut from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from matcard.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from jaxtyping import Float32, Int, Int8, Int32, Int64, UInt8
    from torch_geometric.data import Batch, Data

    from matcard.crystals.options import GraphOptions
    from matcard.crystals.table import Crystals

CHUNK = 512
"""Crystals searched together: large enough to spread numpy's cost a call, small enough for memory."""


@dataclass(frozen=True)
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
    """Cell of the neighbour, in lattice vectors from the centre's."""
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

        if not -len(self) <= index < len(self):
            raise IndexError(f"crystal {index} of {len(self)}")
        index %= len(self)
        atoms = slice(*self.node_offsets[index : index + 2])
        edges = slice(*self.edge_offsets[index : index + 2])
        ends = np.stack([self.source[edges], self.target[edges]]).astype(np.int64)
        return Data(
            z=torch.from_numpy(self.numbers[atoms].astype(np.int64)),
            edge_index=torch.from_numpy(ends),
            distance=torch.from_numpy(np.array(self.distance[edges])),
            image=torch.from_numpy(np.array(self.image[edges])),
            num_nodes=atoms.stop - atoms.start,
        )

    def batch(self, indices: Int[np.ndarray, " B"] | Sequence[int]) -> Batch:
        """Cut the crystals `indices` out as one graph, without a loop over them.

        Returns:
            a batch of B crystals with A atoms and M edges: `z` (A,), `edge_index` (2,M) of neighbours and centres,
            sorted by centre, `distance` (M,) float32 in angstrom, `image` (M,3), `batch` (A,) the crystal of each
            atom, `ptr` (B+1,) the first atom of each crystal. Only the crystals asked for are read.
        """
        import torch
        from torch_geometric.data import Batch

        indices = np.asarray(indices, dtype=np.int64)
        if indices.size and not (-len(self) <= indices.min() and indices.max() < len(self)):
            raise IndexError(f"crystals {indices.min()} to {indices.max()} of {len(self)}")
        indices %= max(len(self), 1)
        atoms, atom_counts = _ranges(self.node_offsets, indices)
        edges, edge_counts = _ranges(self.edge_offsets, indices)
        ptr = np.concatenate([[0], np.cumsum(atom_counts)])
        shift = np.repeat(ptr[:-1], edge_counts)
        return Batch(
            z=torch.from_numpy(self.numbers[atoms].astype(np.int64)),
            edge_index=torch.from_numpy(np.stack([self.source[edges] + shift, self.target[edges] + shift])),
            distance=torch.from_numpy(np.asarray(self.distance[edges])),
            image=torch.from_numpy(np.asarray(self.image[edges])),
            batch=torch.from_numpy(np.repeat(np.arange(len(indices)), atom_counts)),
            ptr=torch.from_numpy(ptr),
        )


class Chunk(NamedTuple):
    """The arrays of `Graphs` for consecutive crystals, with counts in place of offsets."""

    numbers: UInt8[np.ndarray, " S"]
    node_counts: Int64[np.ndarray, " N"]
    edge_counts: Int64[np.ndarray, " N"]
    source: Int32[np.ndarray, " E"]
    target: Int32[np.ndarray, " E"]
    distance: Float32[np.ndarray, " E"]
    image: Int8[np.ndarray, "E 3"]
    truncated: Int32[np.ndarray, " N"]
    short: Int32[np.ndarray, " N"]
    isolated: Int32[np.ndarray, " N"]


def build_graphs(
    crystals: Crystals,
    options: GraphOptions,
    *,
    jobs: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Graphs:
    """Build the graphs of all crystals in memory.

    Args:
        crystals: validated table of structures.
        options: radius, number of neighbours, ties.
        jobs: processes to use; -1 for all cores.
        progress: called with the crystals done and their number after each chunk.
    """
    parts = []
    for part in chunks(crystals, options, jobs=jobs):
        parts.append(part)
        if progress is not None:
            progress(min(len(parts) * CHUNK, len(crystals.lattice)), len(crystals.lattice))
    fields = Chunk(*(np.concatenate(field) for field in zip(_EMPTY, *parts, strict=True)))._asdict()
    for name in ("node", "edge"):
        fields[f"{name}_offsets"] = np.concatenate([[0], np.cumsum(fields.pop(f"{name}_counts"))])
    return Graphs(**fields)


def chunks(crystals: Crystals, options: GraphOptions, *, start: int = 0, jobs: int = 1) -> Iterator[Chunk]:
    """Build the graphs of `CHUNK` crystals at a time, in order, from crystal `start` on."""
    from joblib import Parallel, delayed

    def tasks() -> Iterator[tuple[object, ...]]:
        for first in range(start, len(crystals.lattice), CHUNK):
            last = min(first + CHUNK, len(crystals.lattice))
            offsets = np.asarray(crystals.offsets[first : last + 1], dtype=np.int64)
            sites = slice(offsets[0], offsets[-1])
            yield delayed(build_chunk)(
                crystals.lattice[first:last],
                offsets - offsets[0],
                crystals.numbers[sites],
                crystals.frac_coords[sites],
                options,
            )

    return iter(Parallel(n_jobs=jobs, return_as="generator")(tasks()))


def build_chunk(
    lattice: Float32[np.ndarray, "N 3 3"],
    offsets: Int64[np.ndarray, " N+1"],
    numbers: UInt8[np.ndarray, " S"],
    frac_coords: Float32[np.ndarray, "S 3"],
    options: GraphOptions,
) -> Chunk:
    """Build the graphs of a few crystals, given as in `Crystals` with offsets that start at 0."""
    from matcard.crystals.neighbors import edges_within_reach, nearest

    lattice = np.ascontiguousarray(lattice, dtype=np.float64)
    found = edges_within_reach(lattice, offsets, np.asarray(frac_coords, dtype=np.float64), options)
    edges, truncated, short = nearest(found, len(numbers), options)
    if np.abs(edges.image).max(initial=0) > np.iinfo(np.int8).max:
        raise InputError("fractional coordinates lie more than a hundred cells away; wrap them into the cell")
    counts = np.diff(offsets)
    crystal = np.repeat(np.arange(len(counts)), counts)
    first = offsets[:-1][crystal][edges.target]
    bare = np.bincount(edges.target, minlength=len(numbers)) == 0

    def per_crystal(atoms: np.ndarray) -> np.ndarray:
        return np.bincount(crystal[atoms], minlength=len(counts)).astype(np.int32)

    return Chunk(
        numbers=np.asarray(numbers, dtype=np.uint8),
        node_counts=counts,
        edge_counts=np.bincount(crystal[edges.target], minlength=len(counts)),
        source=(edges.source - first).astype(np.int32),
        target=(edges.target - first).astype(np.int32),
        distance=edges.distance.astype(np.float32),
        image=np.rint(edges.image).astype(np.int8),
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


_EMPTY = Chunk(
    numbers=np.zeros(0, np.uint8),
    node_counts=np.zeros(0, np.int64),
    edge_counts=np.zeros(0, np.int64),
    source=np.zeros(0, np.int32),
    target=np.zeros(0, np.int32),
    distance=np.zeros(0, np.float32),
    image=np.zeros((0, 3), np.int8),
    truncated=np.zeros(0, np.int32),
    short=np.zeros(0, np.int32),
    isolated=np.zeros(0, np.int32),
)
