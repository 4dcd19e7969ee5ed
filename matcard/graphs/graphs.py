"""Crystal graphs as flat arrays, built once and kept in the cache, and batches cut from them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import Dataset

from matcard.batch import Batch
from matcard.cache import PYMATGEN, code_digest, kept, map_arrays, write_arrays
from matcard.crystals.crystals import in_runs, offsets_from_counts
from matcard.errors import InputError
from matcard.graphs.neighbors import nearest, within_reach
from matcard.parallel import in_order

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from jaxtyping import Bool, Float, Float32, Int, Int8, Int32, Int64, Shaped, UInt8
    from torch import Tensor

    from matcard.crystals.crystals import Crystals
    from matcard.graphs.neighbors import GraphOptions

    Progress = Callable[[int, int], None]

CHUNK_ATOMS = 8192
"""Atoms whose neighbours are searched together: many crystals a numpy call, tens of megabytes."""


@dataclass(eq=False)
class GraphBatch(Batch):
    """B crystal graphs as one, with A atoms and M edges, named as in torch_geometric."""

    z: Int64[Tensor, " A"]
    """Atomic numbers."""
    edge_index: Int64[Tensor, "2 M"]
    """Neighbours and centres, counted in the batch."""
    distance: Float32[Tensor, " M"]
    """Length in angstrom."""
    batch: Int64[Tensor, " A"]
    """The crystal of each atom."""
    ptr: Int64[Tensor, " B+1"]
    """First atom of each crystal, and A."""
    index: Int64[Tensor, " B"] | None = None
    """Positions of the crystals in the data set."""
    y: Shaped[Tensor, " B"] | None = None
    """Their targets."""
    descriptors: Float32[Tensor, "B D"] | None = None
    """Their fixed numbers."""
    numbers: Float[Tensor, "B V"] | None = None
    """To predict, standardised; NaN where missing."""

    def __len__(self) -> int:
        return len(self.ptr) - 1


@dataclass(frozen=True, eq=False)
class Graphs:
    """N crystal graphs with S atoms and E edges in all, in flat arrays that may be memory-mapped.

    Atoms of crystal i are `node_offsets[i]` to `node_offsets[i + 1]`, its edges `edge_offsets[i]` to
    `edge_offsets[i + 1]`. An edge runs from a neighbour (`source`) to the centre that it is a neighbour of
    (`target`); both count the sites of their own crystal. Edges are sorted by target, then by distance. Pickled (for
    the worker of a `DataLoader`, say), mapped graphs are the name of their folder, whatever their size.
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
    folder: Path | None = None
    """Where the files are that the arrays are mapped from."""

    def __len__(self) -> int:
        return len(self.node_offsets) - 1

    def __reduce__(self) -> Any:
        return (Graphs, tuple(vars(self).values())) if self.folder is None else (_mapped, (self.folder,))

    def batch(self, indices: Int[np.ndarray, " B"] | Sequence[int]) -> GraphBatch:
        """Cut the crystals `indices` out as one graph, without a loop over them.

        Args:
            indices: B crystals, in any order.

        Returns:
            a batch with A atoms and M edges, sorted by centre. Nothing else is read.
        """
        chosen = np.asarray(indices, dtype=np.int64)
        if (outside := chosen[(chosen < 0) | (chosen >= len(self))]).size:
            raise IndexError(f"crystal {outside[0]} was asked for, there are {len(self)}")
        atoms, atom_counts = _ranges(self.node_offsets, chosen)
        edges, edge_counts = _ranges(self.edge_offsets, chosen)
        ptr = np.concatenate([[0], np.cumsum(atom_counts)])
        shift = np.repeat(ptr[:-1], edge_counts)
        return GraphBatch(
            z=torch.from_numpy(self.numbers[atoms].astype(np.int64)),
            edge_index=torch.from_numpy(np.stack([self.source[edges] + shift, self.target[edges] + shift])),
            distance=torch.from_numpy(self.distance[edges]),
            batch=torch.from_numpy(np.repeat(np.arange(len(chosen)), atom_counts)),
            ptr=torch.from_numpy(ptr),
        )


def build_graphs(
    crystals: Crystals,
    options: GraphOptions,
    *,
    jobs: int | None = None,
    progress: Progress | None = None,
) -> Graphs:
    """Build the graphs of all crystals in memory.

    Args:
        crystals: N of them; a row at fault has a graph without atoms.
        options: radius, number of neighbours, ties.
        jobs: processes to use, as in joblib: -1 for all cores; None for one, or for what an enclosing
            `joblib.parallel_config` says.
        progress: called with the crystals done and their number at the start and after each chunk.

    Raises:
        InputError: when a fractional coordinate is so large that the neighbour's cell cannot be counted.
    """
    parts = list(_counted_on(_built(crystals, options, jobs, progress)))
    joined: dict[str, Any] = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return Graphs(**joined)


def open_graphs(
    crystals: Crystals,
    options: GraphOptions,
    folder: Path,
    *,
    jobs: int | None = None,
    progress: Progress | None = None,
) -> Graphs:
    """Open the graphs of `crystals` in the cache `folder`; build them there first if they are not in it.

    Several processes may call this at once: one builds, the others wait. Building takes memory for a few
    chunks of crystals. What is damaged is built again, with a warning.

    Args:
        crystals: as in `build_graphs`; their ids play no part.
        options: radius, number of neighbours, ties.
        folder: cache.
        jobs: as in `build_graphs`.
        progress: called with the crystals done and their number at the start and after each chunk.

    Raises:
        InputError: when the cache cannot be written.
    """

    def build(place: Path) -> dict[str, Any]:
        write_arrays(place, _counted_on(_built(crystals, options, jobs, progress)))
        return {"options": asdict(options)}

    code = code_digest(map(files("matcard.graphs").joinpath, ("neighbors.py", "graphs.py")), PYMATGEN)
    decisive = [asdict(options), code, crystals.content_digest()]
    place, _ = kept(folder, decisive, f"the graphs of {len(crystals)} crystals", build)
    return _mapped(place)


def _mapped(folder: Path) -> Graphs:
    return Graphs(**map_arrays(folder), folder=folder)


class GraphDataset(Dataset[GraphBatch]):
    """Graphs with their targets, from which a `DataLoader` takes a batch in one piece.

        DataLoader(dataset, batch_size=256, shuffle=True, collate_fn=dataset.collate)

    A batch is that of `Graphs.batch` with `index` (B,), the positions of its crystals, `y` (B,), their targets, and
    `descriptors` (B, D), if there are any. Split the positions among training, validation and test, not the graphs.

    Args:
        graphs: N graphs, memory-mapped or not.
        targets: (N,) their labels.
        descriptors: (N, D) fixed numbers of each crystal.

    Raises:
        InputError: when targets, descriptors and graphs differ in number.
    """

    def __init__(
        self,
        graphs: Graphs,
        targets: Shaped[Tensor, " N"] | Shaped[np.ndarray, " N"] | None = None,
        descriptors: Float32[np.ndarray, "N D"] | None = None,
    ) -> None:
        for name, given in (("targets", targets), ("rows of descriptors", descriptors)):
            if given is not None and len(given) != len(graphs):
                raise InputError(f"{len(given)} {name} for {len(graphs)} graphs; give one for each graph")
        self.graphs = graphs
        self.targets = None if targets is None else torch.as_tensor(targets)
        self.descriptors = None if descriptors is None else torch.as_tensor(descriptors)

    def __len__(self) -> int:
        return len(self.graphs)

    def __getitem__(self, index: int) -> GraphBatch:
        """Give one crystal, as a batch."""
        return self.__getitems__([index])

    def __getitems__(self, indices: Sequence[int]) -> GraphBatch:
        """Give the crystals at `indices` as a batch."""
        batch = self.graphs.batch(indices)
        batch.index = torch.as_tensor(indices)
        if self.targets is not None:
            batch.y = self.targets[batch.index]
        if self.descriptors is not None:
            batch.descriptors = self.descriptors[batch.index]
        return batch

    @staticmethod
    def collate(batch: GraphBatch) -> GraphBatch:
        """Give the batch as it is: it was made in one piece."""
        return batch


def _built(crystals: Crystals, options: GraphOptions, jobs: int | None, progress: Progress | None) -> Iterator[Graphs]:
    """Build the graphs of some crystals after the other, in order; processes are not started for a few."""
    runs = in_runs(crystals.num_sites, CHUNK_ATOMS) or [slice(0, 0)]
    parts = ((crystals.take(np.arange(run.start, run.stop)), options) for run in runs)
    if progress is not None:
        progress(0, len(crystals))
    for run, part in zip(runs, in_order(_build_chunk, parts, jobs if len(runs) > 1 else 1), strict=True):
        yield part
        if progress is not None:
            progress(run.stop, len(crystals))


def _counted_on(parts: Iterable[Graphs]) -> Iterator[dict[str, Any]]:
    """Give the arrays of parts such that each is those of the parts one after the other."""
    ends = dict.fromkeys(("node_offsets", "edge_offsets"), 0)
    for number, part in enumerate(parts):
        arrays = {name: array for name, array in vars(part).items() if name != "folder"}
        for name, end in ends.items():
            ends[name] = end + arrays[name][-1]
            arrays[name] = arrays[name][min(number, 1) :] + end
        yield arrays


def _build_chunk(crystals: Crystals, options: GraphOptions) -> Graphs:
    """Build the graphs of a few crystals."""
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
