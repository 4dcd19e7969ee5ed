"""Whole batches for `torch.utils.data.DataLoader`, in an order that a seed and an epoch fix."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler

from matcard.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jaxtyping import Shaped
    from torch import Tensor
    from torch_geometric.data import Batch

    from matcard.crystals.graphs import Graphs


class GraphDataset(Dataset["Batch"]):
    """Graphs with their targets, from which a `DataLoader` takes a batch in one piece.

        DataLoader(dataset, 256, sampler=SeededSampler(len(dataset), seed), collate_fn=dataset.collate)

    A batch is that of `Graphs.batch` with `index` (B,), the positions of its crystals, and `y` (B,), their
    targets, if there are any. Split the positions among training, validation and test, not the graphs.

    Args:
        graphs: N graphs, memory-mapped or not.
        targets: (N,) their labels.

    Raises:
        InputError: when targets and graphs differ in number.
    """

    def __init__(self, graphs: Graphs, targets: Shaped[Tensor, " N"] | Shaped[np.ndarray, " N"] | None = None) -> None:
        if targets is not None and len(targets) != len(graphs):
            raise InputError(f"{len(targets)} targets for {len(graphs)} graphs; give one for each graph")
        self.graphs = graphs
        self.targets = None if targets is None else torch.as_tensor(targets)

    def __len__(self) -> int:
        return len(self.graphs)

    def __getitem__(self, index: int) -> Batch:
        """Give one crystal, as a batch."""
        return self.__getitems__([index])

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        """Give the crystals at `indices` as a batch."""
        batch = self.graphs.batch(indices)
        batch.index = torch.as_tensor(indices)
        if self.targets is not None:
            batch.y = self.targets[batch.index]
        return batch

    @staticmethod
    def collate(batch: Batch) -> Batch:
        """Give the batch as it is: it was made in one piece."""
        return batch


class SeededSampler(Sampler[int]):
    """The positions 0 to size-1, shuffled anew each epoch in an order that is a function of seed and epoch.

    So a run that is resumed at an epoch sees what an uninterrupted run would have seen. Lightning calls
    `set_epoch` before each epoch; a hand-written loop has to.
    """

    def __init__(self, size: int, seed: int, *, shuffle: bool = True) -> None:
        self.size = size
        self.seed = seed
        self.shuffle = shuffle
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of epoch `epoch`, counted from 0."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[int]:
        if not self.shuffle:
            return iter(range(self.size))
        return iter(np.random.default_rng([self.seed, self.epoch]).permutation(self.size).tolist())
