"""What compositions, table rows and images have in common: arrays of numbers, as training has read them."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from matcard.errors import InputError
from matcard.prediction.inputs.base import Inputs, Rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from typing import IO

    from jaxtyping import Int, Shaped

    from matcard.data.arrays import ArrayDataset
    from matcard.data.labelled import LabelledData
    from matcard.data.tables import Table
    from matcard.prediction.inputs.base import Named, Progress

_DIGEST = 8
"""Bytes that tell samples apart."""


@dataclass(frozen=True, eq=False)
class Arrays:
    """n samples.

    Attributes:
        inputs: (n, F) of rows, (n, channels, height, width) of images; not standardised.
        beside: (n,) tuples of the names of what else a sample consists of that has no place in `inputs`.
    """

    inputs: Shaped[np.ndarray, "n ..."]
    beside: Shaped[np.ndarray, " n"]

    @classmethod
    def of(cls, inputs: Shaped[np.ndarray, "n ..."], beside: Sequence[tuple[str, ...]] | None = None) -> Arrays:
        """Take inputs; `beside` is nothing where not given."""
        names = np.empty(len(inputs), dtype=object)
        names[:] = [()] * len(inputs) if beside is None else list(beside)
        return cls(inputs, names)

    def __len__(self) -> int:
        return len(self.inputs)

    def take(self, indices: Int[np.ndarray, " m"]) -> Arrays:
        """Give those at `indices`."""
        return Arrays(self.inputs[indices], self.beside[indices])


class ArrayInputs(Inputs[Arrays]):
    """What a network on arrays takes, each a sample of shape `input_shape`.

    Mean and deviation of the training part are among the weights of the network.
    """

    @property
    @abstractmethod
    def input_shape(self) -> tuple[int, ...]:
        """The shape of a sample."""

    @property
    def read_as(self) -> Any:
        """Itself: the arrays are made as they are read."""
        return self

    @property
    def model_arguments(self) -> dict[str, Any]:
        """Give the shape of a sample."""
        return {"input_shape": self.input_shape}

    @abstractmethod
    def pieces(self, path: Path, named: Named) -> Iterator[tuple[Rows[Arrays], int | None]]:
        """Read a file, some thousand samples at a time, each time with how many it holds where that is known.

        Raises:
            InputError: it cannot be read, or not to its end.
        """

    def read(
        self,
        paths: Sequence[Path | None],
        named: Named,
        stream: IO[bytes],
        failures: list[str],
        jobs: int | None,
        progress: Progress,
    ) -> Iterator[Rows[Arrays]]:
        """Read files, piece by piece."""
        done = 0
        for path in paths:
            assert path is not None
            try:
                for rows, total in self.pieces(path, named):
                    yield rows
                    done += len(rows.ids)
                    progress(done, total if len(paths) == 1 else None)
            except InputError as error:
                failures.append(str(error))
                yield self._failed(str(path), str(error))

    def dataset(self, samples: Arrays, jobs: int | None = None) -> ArrayDataset:
        """Give the arrays."""
        from matcard.data.arrays import ArrayDataset

        return ArrayDataset(samples.inputs, np.zeros(len(samples), np.int64))  # nothing looks at their classes

    def trained_on(self, data: LabelledData, positions: Int[np.ndarray, " m"]) -> Arrays:
        """Give the arrays; what stood beside them was not trained on."""
        from matcard.data.arrays import ArrayData

        assert isinstance(data, ArrayData)
        return Arrays.of(np.asarray(data.inputs[positions]))

    def contents(self, samples: Arrays) -> list[tuple[str, ...]]:
        """Give nothing but what stands beside."""
        return list(samples.beside)

    def marks(self, samples: Arrays) -> dict[str, list[str]]:
        """Give a digest of the numbers as the network sees them, in single precision."""
        rows = np.ascontiguousarray(samples.inputs, dtype="<f4") + np.float32(0)  # -0 is 0
        return {"numbers": [hashlib.blake2b(row.tobytes(), digest_size=_DIGEST).hexdigest() for row in rows]}

    def samples(self, table: Table) -> Arrays:
        """Give the arrays."""
        from matcard.data.tables import ArrayTable

        assert isinstance(table, ArrayTable)
        return Arrays.of(table.inputs)

    def _failed(self, where: str, message: str) -> Rows[Arrays]:
        """Give the row of an input that cannot be read, or not to its end."""
        nothing = Arrays.of(np.zeros((1, *self.input_shape), np.float32))
        return Rows([""], [where], nothing, np.array([message], dtype=object))
