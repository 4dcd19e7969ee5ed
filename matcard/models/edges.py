"""The edges of a batch of crystals, laid out so that sums over them are cheap."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import nn

from matcard.errors import InputError

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

BLOCK_EDGES = 1536
"""Edges worked on together on a CPU: at the usual widths what is computed of them stays in a core's cache."""


class Block(NamedTuple):
    """The e edges of some whole crystals of a batch, which stay among these crystals' a atoms.

    Pointers count from the block's first edge.
    """

    atoms: slice
    """Its atoms among the batch's."""
    edges: slice
    """Its edges among the batch's."""
    target: Int[Tensor, " e"]
    """Centre of each edge, counted in the batch."""
    ends: Int[Tensor, " 2e"]
    """2 target and 2 source + 1 of each edge in turn: its rows where two rows an atom hold what it gives as either."""
    pairs: Int[Tensor, " e+1"]
    """First place of each edge in `ends`, and 2e."""
    in_order: Int[Tensor, " e"]
    """The edges, 0 to e - 1."""
    target_ptr: Int[Tensor, " a+1"]
    """First edge into each atom, and e."""
    by_source: Int[Tensor, " e"]
    """The edges in the order of their sources."""
    source_ptr: Int[Tensor, " a+1"]
    """First place in `by_source` of the edges out of each atom, and e."""


@dataclass(frozen=True, eq=False)
class Edges:
    """E directed edges among A atoms of B crystals, on the CPU sorted by target."""

    source: Int[Tensor, " E"]
    """The neighbour."""
    target: Int[Tensor, " E"]
    """The centre, which receives."""
    distance: Float[Tensor, " E"]
    """Length in angstrom."""
    ptr: Int[Tensor, " B+1"]
    """First atom of each crystal, and A."""

    @classmethod
    def of(cls, batch: Any) -> Edges:
        """Take the edges of a batch; on the CPU, which sums over them in order, sorted where they are not.

        Args:
            batch: with `edge_index` (2, E) of neighbours and centres, `distance` (E,), `batch` (A,), `ptr` (B+1,).

        Raises:
            InputError: when an edge joins two crystals (on the CPU: elsewhere a look would make the CPU wait).
        """
        source, target = batch.edge_index
        distance = batch.distance
        if target.device.type != "cpu":
            return cls(source, target, distance, batch.ptr)
        if bool((batch.batch[source] != batch.batch[target]).any()):
            raise InputError("an edge joins two crystals of the batch: expected edge_index to stay within each")
        if bool((target[1:] < target[:-1]).any()):
            order = target.argsort(stable=True)
            source, target, distance = source[order], target[order], distance[order]
        return cls(source, target, distance, batch.ptr)

    @property
    def num_atoms(self) -> int:
        """Number of atoms."""
        return int(self.ptr[-1])

    @cached_property
    def target_ptr(self) -> Int[Tensor, " A+1"]:
        """First edge into each atom, and E."""
        return _pointer(self.target, self.num_atoms)

    @cached_property
    def positions(self) -> Int[Tensor, " E"]:
        """The edges in their order, 0 to E-1."""
        return torch.arange(len(self.target), device=self.target.device)

    @cached_property
    def by_source(self) -> Int[Tensor, " E"]:
        """Edges in the order of their sources."""
        return self.source.argsort(stable=True)

    @cached_property
    def source_ptr(self) -> Int[Tensor, " A+1"]:
        """First place in `by_source` of the edges out of each atom, and E."""
        return _pointer(self.source, self.num_atoms)

    @cached_property
    def blocks(self) -> list[Block]:
        """The batch in blocks of about `BLOCK_EDGES` edges, or one crystal where that has more."""
        atom, edge = self.ptr.tolist(), self.target_ptr[self.ptr].tolist()
        cuts = [0]
        for crystal in range(1, len(atom) - 1):
            if edge[crystal + 1] - edge[cuts[-1]] > BLOCK_EDGES:
                cuts.append(crystal)
        cuts.append(len(atom) - 1)
        ends = torch.stack([2 * self.target, 2 * self.source + 1], dim=1)
        pairs = torch.arange(0, 2 * len(self.target) + 1, 2)
        blocks = []
        for first, last in pairwise(cuts):
            edges = slice(edge[first], edge[last])
            count = edges.stop - edges.start
            pointers = slice(atom[first], atom[last] + 1)
            blocks.append(
                Block(
                    atoms=slice(atom[first], atom[last]),
                    edges=edges,
                    target=self.target[edges],
                    ends=ends[edges].view(-1),
                    pairs=pairs[: count + 1],
                    in_order=self.positions[:count],
                    target_ptr=self.target_ptr[pointers] - edges.start,
                    by_source=self.by_source[edges] - edges.start,
                    source_ptr=self.source_ptr[pointers] - edges.start,
                )
            )
        return blocks


def segment_sum(
    rows: Float[Tensor, "R F"], order: Int[Tensor, " E"], pointer: Int[Tensor, " S+1"]
) -> Float[Tensor, "S F"]:
    """Sum rows by segments: segment s holds `rows[order[pointer[s]:pointer[s + 1]]]`; an empty one gives 0."""
    return nn.functional.embedding_bag(order, rows, pointer, mode="sum", include_last_offset=True)


def _pointer(index: Int[Tensor, " E"], size: int) -> Int[Tensor, " A+1"]:
    return nn.functional.pad(torch.bincount(index, minlength=size).cumsum(0), (1, 0))
