"""Whole batches of crystals for `torch.utils.data.DataLoader`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.utils.data import Dataset

from matcard.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from jaxtyping import Shaped
    from torch import Tensor
    from torch_geometric.data import Batch

    from matcard.crystals.graphs import Graphs


class GraphDataset(Dataset["Batch"]):
    """Graphs with their targets, from which a `DataLoader` takes a batch in one piece.

        DataLoader(dataset, batch_size=256, shuffle=True, collate_fn=dataset.collate)

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
