"""Table rows and compositions as samples: which columns describe them; a network sees their numbers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from matcard.batch import ArrayDataset, digests, standardised
from matcard.crystals.crystals import id_faults, objects
from matcard.data.columns import compounds, describe_formulas, number_columns, numbers_of, proportions
from matcard.data.kinds import COMPOSITION_COLUMNS, kind_of
from matcard.data.options import DataOptions
from matcard.data.samples import Kind, Samples
from matcard.errors import InputError, listed
from matcard.files import find_paths, require_file
from matcard.table_files import INDEX, as_ids, ids_column, open_table, require_column, scalars, valid

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import IO

    from jaxtyping import Bool, Float32, Float64, Int, Shaped
    from torch import Tensor

    from matcard.data.card import Card
    from matcard.data.samples import Progress, Source
    from matcard.table_files import Table

RowName = Literal["table", "compositions"]
PART = "part"
"""Column that says which part a row is of, where the makers of the data divided them."""
ENDINGS = (".parquet", ".csv", ".csv.gz", ".jsonl", ".jsonl.gz")
"""How files of rows end."""
TAKES = f"tables, patterns such as 'new/*.csv', or folders of tables, by the endings {', '.join(ENDINGS)}"
_WHERE = "__where__"
_HELD_OUT = ("test", "validation")


@dataclass(frozen=True)
class RowKind(Kind):
    """Rows of numbers, of the same columns for training and for prediction.

    Attributes:
        name: `table` or `compositions`.
        names: columns of numbers; of compositions the components, whose amounts are divided by their sum.
        formula: column of chemical formulas, in place of `names`.
        described: what is made of a formula, as `--data.composition_features` says.
        features: names of the F numbers that are made of them.
    """

    name: RowName
    names: tuple[str, ...] = ()
    formula: str | None = None
    described: Literal["fractions", "magpie"] = "fractions"
    features: tuple[str, ...] = ()

    def points(
        self,
        inputs: Float64[np.ndarray, "N F"],
        descriptors: Float32[Tensor, "N D"] | None = None,
        by: Int[np.ndarray, " M"] | None = None,
    ) -> Float64[Tensor, "N F"]:
        """Give the columns, standardised. Not at unit length: a few columns would have few directions."""
        return standardised(inputs, by)

    @property
    def used(self) -> tuple[str, ...]:
        """All columns that are read."""
        return self.names if self.formula is None else (self.formula,)

    @property
    def shares(self) -> bool:
        """Whether the numbers are shares of elements or components, so that a row consists of those above 0."""
        return self.name == "compositions" and (self.formula is None or self.described == "fractions")

    @property
    def model_arguments(self) -> dict[str, Any]:
        """The shape of a sample."""
        return {"input_shape": (len(self.features),)}

    def find(self, words: Sequence[str]) -> Sequence[Source]:
        """Find tables; a folder stands for those in it."""

        def in_folder(folder: Path) -> list[Path]:
            files = [path for path in sorted(folder.iterdir()) if path.name.lower().endswith(ENDINGS)]
            if not files:
                raise InputError(f"{folder} holds no file that ends in {', '.join(ENDINGS)}")
            return files

        found = find_paths(words, in_folder, TAKES, stdin=False)
        for path in found:
            if not str(path).lower().endswith(ENDINGS):
                raise InputError(f"{path}: inputs of this run are {TAKES}")
        return found

    def pieces(self, source: Source, options: DataOptions, stream: IO[bytes], progress: Progress) -> Iterator[Samples]:
        """Read a table."""
        assert isinstance(source, Path)
        table, kind, id_column, done = _table(source), None, None, 0
        for frame, total in table.pieces:
            frame = _named_by_text(frame)
            if kind is None:
                kind, id_column = self.settled(frame, str(source), options)
            else:  # JSON lines name their columns one by one
                frame = frame.reindex(columns=list(dict.fromkeys([*frame, *kind.used])))
            places = frame.index.tolist()
            ids = list(map(str, places)) if id_column is None else as_ids(frame.reindex(columns=[id_column])[id_column])
            yield kind.samples(frame, ids, [f"{table.name} {table.unit} {k}" for k in places])
            done += len(frame)
            progress(done, total)

    def wrap(self, given: Iterable[Any], ids: Sequence[str] | None) -> Samples:
        """Take a pandas DataFrame; of runs on formulas also a list of them."""
        if isinstance(given, pd.DataFrame):
            frame = _named_by_text(given)
        elif self.formula is not None:
            formulas = [given] if isinstance(given, str) else list(given)
            frame = pd.DataFrame({self.formula: formulas}, dtype=object)
        else:
            raise InputError(
                f"a {type(given).__name__} was given: a pandas DataFrame with the columns {listed(self.used)} was "
                "expected"
            )
        if not len(frame) or (ids is not None and len(ids) != len(frame)):
            number = len(frame) if ids is None else len(ids)
            raise InputError(f"{len(frame)} rows and {number} ids: give one or more, and an id for each")
        kind, column = self.settled(frame, "the frame", DataOptions())
        own = [str(k) for k in range(len(frame))] if column is None else as_ids(frame[column])
        names: Sequence[str | None] = own if ids is None else ids
        return kind.samples(frame, names, [f"rows[{k}]" for k in range(len(frame))])

    def samples(
        self,
        frame: pd.DataFrame,
        ids: Sequence[str | None],
        where: Sequence[str],
        test: Bool[np.ndarray, " N"] | None = None,
        aside: Sequence[str | None] = (),
    ) -> Samples:
        """Make the numbers of rows; `aside` are columns that say nothing else of them."""
        inputs, features, faults = self.numbers(frame)
        written = ["" if name is None else str(name) for name in ids]
        names = objects(map(valid, written))
        columns = frame.drop(columns=[name for name in (*self.used, *aside) if name in frame]).reset_index(drop=True)
        for i in np.flatnonzero(names != objects(written)).tolist():
            faults[i] = faults[i] or f"the id {names[i]} is no valid Unicode text; write it anew"
        kind = replace(self, features=features)
        return Samples(names, objects(where), inputs, scalars(columns), faults, kind, test)

    def numbers(
        self, frame: pd.DataFrame
    ) -> tuple[Float64[np.ndarray, "N F"], tuple[str, ...], Shaped[np.ndarray, " N"]]:
        """Give the F numbers of N rows, their names, and what is wrong with a row, or None; `used` must be there."""
        if self.formula is not None:
            inputs, features, faults = describe_formulas(frame[self.formula], self.described)
            return inputs, tuple(features), faults
        inputs, faults = numbers_of(frame, self.names)
        if self.name == "compositions":
            inputs, faults = proportions(inputs, faults)
        return inputs, self.names, faults

    def notes(self, dataset: ArrayDataset) -> list[str]:
        """Say what the numbers are."""
        return [f"{len(self.features)} columns of numbers: {listed(self.features, 24)}"]

    def contents(self, inputs: Float64[np.ndarray, "N F"], columns: pd.DataFrame) -> list[tuple[str, ...]]:
        """Give the components of compositions, or the elements of formulas; nothing of Magpie features.

        Components that training had no column for count for nothing in the numbers; columns are taken for such by name.
        """
        if not self.shares:
            return [()] * len(inputs)
        beside = [] if self.formula is not None else compounds(columns)
        amounts, _ = numbers_of(columns, beside)
        names = np.array([*self.features, *beside], dtype=object)
        return [tuple(names[there]) for there in np.concatenate([inputs, amounts], axis=1) > 0]

    def families(self, samples: Samples) -> Shaped[np.ndarray, " N"] | None:
        """Give what tells compositions apart: they are of one reduced formula where their shares are the same."""
        return np.array(digests(samples.inputs)) if self.name == "compositions" else None

    def settled(self, frame: pd.DataFrame, name: str, options: DataOptions) -> tuple[RowKind, str | None]:
        """Find the column of formulas and that of ids among those of a file.

        Raises:
            InputError: a column is not there.
        """
        ids = ids_column(frame, options.id_column, name)
        if options.composition_column is not None:
            require_column(options.composition_column, map(str, frame), name, "composition_column")
        kind = self
        if self.formula is not None:
            looked_for = (options.composition_column, self.formula, *COMPOSITION_COLUMNS)
            kind = replace(self, formula=next((name for name in looked_for if name in frame), self.formula))
        absent = [column for column in kind.used if column not in frame]
        if absent and self.formula is not None:
            require_column(absent[0], map(str, frame), name, "composition_column")
        if absent:
            none = "; where a component is absent from all rows, add its column with 0"
            raise InputError(
                f"{name} lacks {listed(absent)}, which the run was trained on"
                f"{none if self.name == 'compositions' else ''}; it has {listed(frame) or 'no columns'}"
            )
        return kind, ids


KIND = RowKind


def read(options: DataOptions, card: Card | None, like: RowKind | None, progress: Progress | None) -> Samples:
    """Read rows of numbers, or compositions; of two sources the second is the test part.

    Args:
        options: source, columns, how compositions are described.
        card: the source's, where it is the name of one.
        like: what a run was trained on, whose columns are read.
        progress: not called.

    Raises:
        InputError: a file that cannot be read, a column that is not there, or no column of numbers.
    """
    test = None
    if card is None:
        path = Path(options.source)
        require_file(path)
        table = _table(path)
        frame = table.whole()
        if len(frame) == 0:
            raise InputError(f"{path} has no rows; is it the right file?")
        where = [f"{table.name} {table.unit} {k}" for k in frame.index]
        frame = _named_by_text(frame).reset_index(drop=True).assign(**{_WHERE: where})
    else:
        from matcard.data.sources import load_frame  # what fetches takes a second that prediction does without

        frame = load_frame(card, options.synthetic)
        frame[_WHERE] = [f"{card.name} row {i}" for i in range(1, len(frame) + 1)]
        parts = set(frame.get(PART, ()))
        test = next(((frame[PART] == name).to_numpy() for name in _HELD_OUT if name in parts), None)
    column = ids_column(frame, options.id_column, options.source)
    ids: Sequence[str | None] = list(map(str, range(1, len(frame) + 1))) if column is None else as_ids(frame[column])
    if like is None:
        kind = _columns(frame, options, {column, PART, _WHERE})
    else:
        kind, _ = like.settled(frame, options.source, options)
    samples = kind.samples(frame, ids, frame[_WHERE].tolist(), test, (column, _WHERE))
    samples = replace(samples, faults=np.where(samples.sound, id_faults(samples.ids, samples.where), samples.faults))
    if options.test_source is None:
        return samples
    second = read(replace(options, source=options.test_source, test_source=None), None, kind, progress)
    return samples.followed_by_test(second, options.test_source, (options.target, options.split.column))


def _columns(frame: pd.DataFrame, options: DataOptions, aside: set[str | None]) -> RowKind:
    """Find what describes a row: named columns, a column of formulas, or all that hold numbers.

    Args:
        frame: rows.
        options: which columns are named.
        aside: columns that say something else, beside the target and groups.
    """
    name = kind_of(options)
    assert name in ("table", "compositions")
    if name == "compositions" and options.features is None:
        formula = options.composition_column
        if formula is not None:
            require_column(formula, map(str, frame), options.source, "composition_column")
        formula = formula or next((name for name in COMPOSITION_COLUMNS if name in frame), None)
        if formula is not None:
            return RowKind(name, formula=formula, described=options.composition_features)
    if options.target is not None:
        others = (column for column in map(str, frame) if column != _WHERE)
        require_column(options.target, others, options.source, "target")
    aside = {*aside, options.target, options.split.column}
    return RowKind(name, tuple(number_columns(frame, options.features, aside, options.source)))


def _table(path: Path) -> Table:
    table = open_table(path) if path.name.lower().endswith(ENDINGS) else None
    if table is None:
        raise InputError(f"{path}: rows and compositions are read from {', '.join(ENDINGS)}")
    return table


def _named_by_text(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.set_axis([str(name) for name in frame], axis=1).drop(columns=INDEX, errors="ignore")
