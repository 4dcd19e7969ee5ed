"""What every kind of data must say of itself, so that the rest of prediction does not ask which one it is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NamedTuple, Protocol, TypeVar

from matcard.data.labelled import UNITS
from matcard.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import IO, Self

    import numpy as np
    from jaxtyping import Int, Shaped
    from torch.utils.data import Dataset

    from matcard.data.labelled import LabelledData
    from matcard.data.options import DataKind
    from matcard.data.tables import Table

    Progress = Callable[[int, int | None], None]


class Samples(Protocol):
    """Some inputs, as they are read: crystals, or arrays of numbers."""

    def __len__(self) -> int: ...

    def take(self, indices: Int[np.ndarray, " m"]) -> Self:
        """Give those at `indices`."""


Held = TypeVar("Held", bound=Samples)


class Rows(NamedTuple, Generic[Held]):
    """Some inputs in their order.

    `samples` holds all n, whatever stands for those that cannot be read; `errors` (n,) says why one cannot be used,
    None where it can; `where` names file and row.
    """

    ids: Sequence[str]
    where: Sequence[str]
    samples: Held
    errors: Shaped[np.ndarray, " n"]


class Named(NamedTuple):
    """Columns of tables that the user has named."""

    id_column: str | None = None
    structure_column: str | None = None
    composition_column: str | None = None


NOTHING = Named()
"""Columns are found by their usual names."""


class Inputs(ABC, Generic[Held]):
    """What a network takes, how it is read, and how it becomes batches.

    Equal ones make the same batches of the same samples.
    """

    columns: ClassVar[tuple[str, ...]] = ()
    """Which of `Named` can be given."""
    target: ClassVar[str | None] = None
    """Column of the labels where neither the user nor the run names one."""
    overlap: ClassVar[dict[str, str]] = {}
    """What `marks` tells samples by -> how it is said, after a number of samples and before "stood in training"."""

    @property
    @abstractmethod
    def kind(self) -> DataKind:
        """What a sample is."""

    @property
    def unit(self) -> str:
        """What samples are called where they are counted."""
        return UNITS[self.kind]

    @property
    @abstractmethod
    def read_as(self) -> Any:
        """Runs predict together where this is the same: they can take samples that were read once for all."""

    @property
    def model_arguments(self) -> dict[str, Any]:
        """What a network must be told when it is made, beside its options and the number of classes."""
        return {}

    @classmethod
    @abstractmethod
    def of_data(cls, data: LabelledData) -> Self:
        """Give what a network takes that is trained on `data`."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Give plain values, for the file of the model."""

    @classmethod
    @abstractmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """Make it of what `to_dict` gave.

        Raises:
            KeyError: something is missing.
            TypeError: something of another type.
        """

    @abstractmethod
    def find(self, inputs: Sequence[str]) -> list[Path | None]:
        """Find the files and folders that are meant, in order; None stands for standard input.

        Raises:
            InputError: a path that does not exist, a pattern that fits nothing, or what cannot be an input.
        """

    @abstractmethod
    def read(
        self,
        paths: Sequence[Path | None],
        named: Named,
        stream: IO[bytes],
        failures: list[str],
        jobs: int | None,
        progress: Progress,
    ) -> Iterator[Rows[Held]]:
        """Read inputs one after another, some thousand rows at a time.

        Args:
            paths: of `find`.
            named: columns.
            stream: standard input.
            failures: takes the message of each input that could not be read to its end; a row says so, too.
            jobs: processes that parse, as in joblib.
            progress: called with the rows read and, where it is known, their number.
        """

    @abstractmethod
    def wrap(self, objects: Iterable[Any], ids: Sequence[str] | None) -> Rows[Held]:
        """Take objects of Python.

        Raises:
            InputError: objects of another kind, none, or ids that are not as many.
        """

    @abstractmethod
    def dataset(self, samples: Held, jobs: int | None = None) -> Dataset[Any]:
        """Give a data set of torch whose `__getitems__` gives a whole batch, as the network takes it.

        Raises:
            InputError: some samples cannot be taken.
        """

    @abstractmethod
    def contents(self, samples: Held) -> list[tuple[str, ...]]:
        """Give what each sample consists of, by name: elements, components; nothing where that is not known."""

    @abstractmethod
    def trained_on(self, data: LabelledData, positions: Int[np.ndarray, " m"]) -> Held:
        """Give samples of the data that a network was trained on."""

    @abstractmethod
    def marks(self, samples: Held) -> dict[str, list[str]]:
        """Give the texts, n each, by which `matcard.evaluate` finds samples that are not new."""

    @abstractmethod
    def read_table(
        self, source: str, target: str | None, named: Named, jobs: int | None, progress: Progress | None
    ) -> Table:
        """Read a set with labels: a path or the name of a card.

        Raises:
            InputError: it cannot be read, or lacks a column.
        """

    @abstractmethod
    def samples(self, table: Table) -> Held:
        """Give the samples of what `read_table` gave."""

    def check_named(self, named: Named) -> None:
        """Refuse columns that play no part.

        Raises:
            InputError: the first such one.
        """
        for name, value in named._asdict().items():
            if value is not None and name not in self.columns:
                raise InputError(f"--data.{name} {value}: the run was trained on {self.unit}; leave it out")
