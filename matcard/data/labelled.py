"""What training takes: labelled samples in three parts, whatever a sample is."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Int64, Shaped
    from torch.utils.data import Dataset

    from matcard.crystals import Crystals
    from matcard.crystals.graphs import Graphs
    from matcard.crystals.neighbors import GraphOptions
    from matcard.data.options import DataKind
    from matcard.data.splits import Split

UNITS: dict[DataKind, str] = {
    "crystals": "crystals",
    "compositions": "compositions",
    "images": "images",
    "table": "rows",
}
"""What samples of a kind are called where they are counted."""


@dataclass(frozen=True, eq=False, kw_only=True)
class LabelledData(ABC):
    """Labelled samples, split: all that training must know of a data set.

    Attributes:
        ids: (N,) object array of str.
        codes: (N,) class of each sample.
        class_names: the C classes.
        split: positions of the three parts.
        notes: what is odd about the data, a sentence each.
    """

    ids: Shaped[np.ndarray, " N"]
    codes: Int64[np.ndarray, " N"]
    class_names: tuple[str, ...]
    split: Split
    notes: tuple[str, ...] = ()
    kind: DataKind

    @property
    @abstractmethod
    def dataset(self) -> Dataset[Any]:
        """The samples as a data set of torch whose `__getitems__` gives a whole batch with `y` and `index`."""

    @property
    def unit(self) -> str:
        """What samples are called where they are counted."""
        return UNITS[self.kind]

    @property
    def model_arguments(self) -> dict[str, Any]:
        """What a network must be told of the data when it is made, beside the number of classes."""
        return {}

    def augmented(self, batch: Any) -> Any:
        """Give a training batch as the network is to see it; draws from torch's generator."""
        return batch

    @property
    def fingerprint(self) -> str:
        """Sha256 of ids, classes and class names: tells whether a resumed run sees the same data."""
        text = json.dumps([self.ids.tolist(), self.codes.tolist(), list(self.class_names)])
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, eq=False, kw_only=True)
class CrystalData(LabelledData):
    """Labelled crystal graphs.

    Attributes:
        graphs: the N graphs, memory-mapped.
        graph_options: what they were built with.
    """

    kind: DataKind = "crystals"
    graphs: Graphs
    graph_options: GraphOptions

    @property
    def crystals(self) -> Crystals:
        """Ids and atoms of the N crystals; of cells and coordinates nothing is kept in graphs, they are zero."""
        import numpy as np

        from matcard.crystals import Crystals

        graphs = self.graphs
        nowhere = np.broadcast_to(np.zeros(3), (len(graphs.numbers), 3))
        cells = np.broadcast_to(np.zeros((3, 3)), (len(graphs), 3, 3))
        return Crystals(self.ids, cells, np.asarray(graphs.node_offsets), np.asarray(graphs.numbers), nowhere)

    @property
    def dataset(self) -> Dataset[Any]:
        """The graphs with their targets."""
        from matcard.crystals.graphs import GraphDataset

        return GraphDataset(self.graphs, self.codes)
