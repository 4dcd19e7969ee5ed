"""What reading a source gives: every row in its order, nothing dropped, with its class or with what is wrong."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd

from matcard.batch import ArrayDataset, digests
from matcard.crystals.crystals import Crystals, is_none, objects
from matcard.data.options import ABOUT
from matcard.errors import InputError
from matcard.files import tuples
from matcard.table_files import label_texts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import IO, Self

    from jaxtyping import Bool, Float32, Float64, Int, Int64, Shaped
    from torch import Tensor
    from torch.utils.data import Dataset

    from matcard.data.labels import Labels
    from matcard.data.options import DataKind, DataOptions

    Progress = Callable[[int, int | None], None]
    Source = Path | list[Path] | None
    """What is read in one go: a file or folder, several files of one structure each, or standard input (None)."""

_SHOWN = 5
"""Rows that a message names."""


class Kind(ABC):
    """What samples are and how they become the input of a network; equal ones make the same batches of the same rows.

    One file of this package holds all that is particular to a kind: how sources, pieces of inputs and Python objects
    are read, how batches are made, and what a model file must say of it.
    """

    target: ClassVar[str | None] = None
    """Column of the labels where neither the user nor the run names one."""
    overlap: ClassVar[dict[str, str]] = {"numbers": "by their numbers"}
    """What `marks` tells samples by -> how it is said, after a number of samples and before "stood in training"."""

    name: DataKind
    """How the kind is called in options."""

    @property
    def unit(self) -> str:
        """What samples are called where they are counted."""
        return ABOUT[self.name].unit

    @property
    def read_as(self) -> Any:
        """Runs predict together where this is the same: they can take samples that were read once for all."""
        return self

    @property
    def shares(self) -> bool:
        """Whether the numbers of a sample are shares of elements or components."""
        return False

    @property
    def model_arguments(self) -> dict[str, Any]:
        """What a network must be told when it is made, beside its options and the number of classes."""
        return {}

    def to_dict(self) -> dict[str, Any]:
        """Give plain values, for the file of the model."""
        return asdict(self)  # type: ignore[call-overload,no-any-return]  # every kind is a dataclass

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """Make it of what `to_dict` gave.

        Raises:
            KeyError: something is missing.
            TypeError: something is missing, or of another type.
        """
        return cls(**tuples(dict(stored)))

    @abstractmethod
    def find(self, words: Sequence[str]) -> Sequence[Source]:
        """Find the inputs that words of a command line mean, in order.

        Raises:
            InputError: a path that does not exist, a pattern that fits nothing, or what cannot be an input.
        """

    @abstractmethod
    def pieces(self, source: Source, options: DataOptions, stream: IO[bytes], progress: Progress) -> Iterator[Samples]:
        """Read one input, some thousand rows at a time; ids may be missing and repeat.

        Args:
            source: the input.
            options: which columns hold ids, structures and formulas; how many processes parse.
            stream: what standard input is.
            progress: called with the rows read and their number, an estimate or None.

        Raises:
            InputError: it cannot be read, or not to its end.
        """

    @abstractmethod
    def wrap(self, given: Iterable[Any], ids: Sequence[str] | None) -> Samples:
        """Take objects of Python.

        Raises:
            InputError: objects of another kind, none, or ids that are not as many.
        """

    def dataset(
        self,
        inputs: Any,
        targets: Int64[np.ndarray, " N"],
        *,
        kept: bool = False,
        jobs: int | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Dataset[Any]:
        """Give a data set of torch whose `__getitems__` gives a whole batch, with `y` and `index`; else of the inputs.

        Args:
            inputs: of N samples without a fault.
            targets: (N,) their classes.
            kept: whether what takes long is kept in the cache.
            jobs: processes, as in joblib.
            progress: called with the samples done and their number.

        Raises:
            InputError: some samples cannot be taken.
        """
        return ArrayDataset(inputs, targets)

    def notes(self, dataset: Any) -> list[str]:
        """Say what is odd about the samples of a data set, a sentence each."""
        return []

    def oddities(self, dataset: Any) -> list[str | None]:
        """Say of each sample of a `dataset` why its prediction is not to be trusted, whatever is close to it."""
        return [None] * len(dataset)

    def contents(self, inputs: Any, columns: pd.DataFrame) -> list[tuple[str, ...]]:
        """Give what each sample consists of, by name: elements, components; nothing where that is not known."""
        return [()] * len(inputs)

    def marks(self, samples: Samples) -> dict[str, list[str]]:
        """Give the texts, N each, by which `matcard.evaluate` finds samples that are not new; else of their numbers."""
        return {"numbers": digests(samples.inputs)}

    def families(self, samples: Samples) -> Shaped[np.ndarray, " N"] | None:
        """Name what is the same but for small changes, such as a reduced formula; None where nothing is known of it."""
        return None

    def points(
        self,
        inputs: Any,
        descriptors: Float32[Tensor, "N D"] | None = None,
        by: Int[np.ndarray, " M"] | None = None,
    ) -> Float64[Tensor, "N F"] | None:
        """Give samples as points whose distances tell how alike they are; None where there are no numbers.

        Args:
            inputs: N samples.
            descriptors: of each, where they have some.
            by: positions of the samples that columns are standardised by; all where not given.
        """
        return None


@dataclass(frozen=True, eq=False)
class Samples:
    """N rows of a source.

    Attributes:
        ids: (N,) object array of str.
        where: (N,) object array of str: file and row, as the user counts them.
        inputs: `Crystals`, (N, F) numbers of rows, or (N, channels, height, width) of images; whatever stands for rows
            at fault.
        columns: N rows (RangeIndex), the source's other columns, the target among them.
        faults: (N,) object array: why a row cannot be used, or None.
        kind: what they are.
        test: (N,) whether a sample is of the test part that came with the data; None where none did.
        labels: their classes; None where they have not been given any.
    """

    ids: Shaped[np.ndarray, " N"]
    where: Shaped[np.ndarray, " N"]
    inputs: Any
    columns: pd.DataFrame
    faults: Shaped[np.ndarray, " N"]
    kind: Kind
    test: Bool[np.ndarray, " N"] | None = None
    labels: Labels | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def sound(self) -> Bool[np.ndarray, " N"]:
        """Whether a row can be used: it has no fault."""
        return is_none(self.faults)

    @property
    def codes(self) -> Int64[np.ndarray, " N"]:
        """The class of each row; -1 where it has none."""
        assert self.labels is not None, "rows that were read have no classes yet"
        return self.labels.codes

    @property
    def class_names(self) -> tuple[str, ...]:
        """The C classes."""
        assert self.labels is not None
        return self.labels.class_names

    @property
    def used(self) -> Int64[np.ndarray, " M"]:
        """Positions of the rows without a fault that have a class."""
        return np.flatnonzero(self.sound & (self.codes >= 0))

    @property
    def texts(self) -> Shaped[np.ndarray, " N"]:
        """The target of each row as it was read; empty where missing."""
        assert self.labels is not None
        return objects(text or "" for text in label_texts(self.columns[self.labels.target]))

    def take(self, indices: Int[np.ndarray, " M"]) -> Samples:
        """Give the rows at `indices`."""
        labels = self.labels
        return Samples(
            self.ids[indices],
            self.where[indices],
            self.inputs.take(indices) if isinstance(self.inputs, Crystals) else self.inputs[indices],
            self.columns.iloc[indices].reset_index(drop=True),
            self.faults[indices],
            self.kind,
            None if self.test is None else self.test[indices],
            None if labels is None else replace(labels, codes=labels.codes[indices]),
        )

    def followed_by_test(self, second: Samples, source: str, needed: Iterable[str | None]) -> Samples:
        """Give these rows and then those of a second source of the same kind, which are the test part.

        A row of the second whose id one of the first has, too, is told apart by `(test)` behind its id.

        Args:
            second: the rows of the test part.
            source: how the second source is called in messages.
            needed: columns that it must have where the first has them.

        Raises:
            InputError: one of these is missing.
        """
        for column in needed:
            if column in self.columns and column not in second.columns:
                raise InputError(f"--data.test_source {source} has no column {column!r}, which the source has")
        taken = set(self.ids.tolist())
        ids = objects(f"{name} (test)" if name in taken else name for name in second.ids.tolist())
        join = Crystals.concatenate if isinstance(self.inputs, Crystals) else np.concatenate
        return Samples(
            np.concatenate([self.ids, ids]),
            np.concatenate([self.where, second.where]),
            join([self.inputs, second.inputs]),
            pd.concat([self.columns, second.columns], ignore_index=True),
            np.concatenate([self.faults, second.faults]),
            self.kind,
            np.repeat([False, True], [len(self), len(second)]),
        )

    def with_labels(self, labels: Labels) -> Samples:
        """Give the rows their classes: those of `labels` where it makes them of sound rows, whatever its own codes."""
        values, sound = self.columns[labels.target], self.sound
        lost = values[~sound]
        if labels.edges:
            lost = pd.to_numeric(lost, errors="coerce")  # a word there stops nothing: its row is left out already
            lost = lost.where(np.isfinite(lost.astype(float)))
        codes = np.full(len(self), -1, dtype=np.int64)
        codes[sound], codes[~sound] = labels.encode(values[sound], self.where[sound]), labels.encode(lost)
        return replace(self, labels=replace(labels, codes=codes))

    @property
    def left_out(self) -> pd.DataFrame:
        """What is not used: `id`, `where`, `reason`, and `class`, or the target as it was read where it is of none."""
        rest = np.setdiff1d(np.arange(len(self)), self.used)
        assert self.labels is not None
        texts, codes = self.texts[rest], self.codes[rest]
        no_class = np.where(texts == "", f"{self.labels.target} is missing", "class not known to the run")
        named = np.array([*self.class_names, ""], dtype=object)[codes]
        return pd.DataFrame(
            {
                "id": self.ids[rest],
                "where": self.where[rest],
                "reason": np.where(self.sound[rest], no_class, self.faults[rest]),
                "class": np.where(codes < 0, texts, named),
            },
            dtype=object,
        )

    def check_left_out(self, largest_share: float) -> None:
        """Stop where too many of the rows with a target are at fault.

        Raises:
            InputError: more than `largest_share` of them; the first reasons are named.
        """
        told = self.texts != ""
        malformed = np.flatnonzero(told & ~self.sound)
        bad, total = len(malformed), int((told & (~self.sound | (self.codes >= 0))).sum())
        if bad <= largest_share * total:
            return
        first = "; ".join(f"{self.where[i]}: {self.faults[i]}" for i in malformed[:_SHOWN])
        raise InputError(
            f"{bad} of {total} rows with a target cannot be used ({bad / total:.1%}; --data.max_left_out allows "
            f"{largest_share:.1%}). The first: {first}. Mend them, or allow more with --data.max_left_out, which lists "
            "all of them in left_out.csv"
        )


def module_of(kind: DataKind) -> Any:
    """Give the module of a kind, loaded when it is first asked for: nothing of images is loaded for crystals."""
    return import_module(f"matcard.data.{ABOUT[kind].module}")
