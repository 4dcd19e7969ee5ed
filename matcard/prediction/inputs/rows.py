"""Compositions and table rows: tables with the columns that the run was trained on."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from matcard.crystals.decode import atomic_numbers
from matcard.crystals.tables import ID_COLUMNS, as_ids, open_table, require_column
from matcard.data.arrays import ArrayData
from matcard.data.kinds import COMPOSITION_COLUMNS
from matcard.data.row_columns import RowColumns
from matcard.data.rows import ENDINGS
from matcard.data.tables import ArrayTable
from matcard.errors import InputError, listed
from matcard.prediction.inputs.arrays import ArrayInputs, Arrays
from matcard.prediction.inputs.base import Named, Rows
from matcard.prediction.inputs.paths import files_alone

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import Self

    import pandas as pd

    from matcard.data.labelled import LabelledData
    from matcard.data.row_columns import RowKind
    from matcard.data.tables import Table
    from matcard.prediction.inputs.base import Progress

TAKES = "tables, patterns such as 'new/*.csv', or folders of tables"
_ELEMENT = re.compile(r"[A-Z][a-z]?")
_FORMULA = re.compile(r"(?:[A-Z][a-z]?\d*)+")


@dataclass(frozen=True)
class RowInputs(ArrayInputs):
    """Rows of numbers, of the columns `made_of`; `features` are the names of the F numbers that are made of them."""

    columns: ClassVar[tuple[str, ...]] = ("id_column", "composition_column")
    overlap: ClassVar[dict[str, str]] = {"numbers": "by their numbers"}

    made_of: RowColumns
    features: tuple[str, ...]

    @property
    def kind(self) -> RowKind:
        """Compositions or table rows."""
        return self.made_of.kind

    @property
    def input_shape(self) -> tuple[int]:
        """F."""
        return (len(self.features),)

    @classmethod
    def of_data(cls, data: LabelledData) -> Self:
        """Take how `data` were made."""
        assert isinstance(data, ArrayData)
        assert data.made_of is not None
        return cls(data.made_of, data.features)

    def to_dict(self) -> dict[str, Any]:
        """Give plain values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """Make it of plain values."""
        made_of = stored["made_of"]
        return cls(RowColumns(**{**made_of, "names": tuple(made_of["names"])}), tuple(stored["features"]))

    def find(self, inputs: Sequence[str]) -> list[Path | None]:
        """Find tables."""
        return files_alone(inputs, ENDINGS, TAKES)

    def pieces(self, path: Path, named: Named) -> Iterator[tuple[Rows[Arrays], int | None]]:
        """Read a table."""
        table = open_table(path)
        assert table is not None  # of one of the endings
        inputs: RowInputs | None = None
        id_column: str | None = None
        for frame, total in table.pieces:
            frame = frame.set_axis([str(name) for name in frame], axis=1)
            if inputs is None:
                inputs, id_column = self._settled(frame, str(path), named)
            else:  # JSON lines name their columns one by one
                frame = frame.reindex(columns=list(dict.fromkeys([*frame, *inputs.made_of.used])))
            places = frame.index.tolist()
            ids = [str(k) for k in places] if id_column is None else _ids(frame.reindex(columns=[id_column])[id_column])
            yield inputs._rows(frame, ids, [f"{table.name} {table.unit} {k}" for k in places]), total

    def wrap(self, objects: Iterable[Any], ids: Sequence[str] | None) -> Rows[Arrays]:
        """Take a pandas DataFrame; of runs on formulas also a list of them."""
        import pandas as pd

        if isinstance(objects, pd.DataFrame):
            frame = objects.set_axis([str(name) for name in objects], axis=1)
        elif self.made_of.formula is not None:
            formulas = [objects] if isinstance(objects, str) else list(objects)
            frame = pd.DataFrame({self.made_of.formula: formulas}, dtype=object)
        else:
            raise InputError(
                f"a {type(objects).__name__} was given: a pandas DataFrame with the columns "
                f"{listed(self.made_of.used)} was expected"
            )
        if not len(frame) or (ids is not None and len(ids) != len(frame)):
            given = len(frame) if ids is None else len(ids)
            raise InputError(f"{len(frame)} rows and {given} ids: give one or more, and an id for each")
        inputs, column = self._settled(frame, "the frame", Named())
        if ids is not None:
            names = [str(name) for name in ids]
        else:
            names = [str(k) for k in range(len(frame))] if column is None else _ids(frame[column])
        return inputs._rows(frame, names, [f"rows[{k}]" for k in range(len(frame))])

    def contents(self, samples: Arrays) -> list[tuple[str, ...]]:
        """Give the components of compositions, or the elements of formulas; nothing of Magpie features."""
        if self.kind != "compositions" or self.made_of.described == "magpie":
            return super().contents(samples)
        names = np.array(self.features, dtype=object)
        held = samples.inputs > 0
        return [(*names[some], *others) for some, others in zip(held, samples.beside, strict=True)]

    def read_table(
        self, source: str, target: str | None, named: Named, jobs: int | None, progress: Progress | None
    ) -> ArrayTable:
        """Read rows by the columns of training."""
        from matcard.data.card import card_names, load_card
        from matcard.data.options import DataOptions
        from matcard.data.rows import read_rows

        card = load_card(source) if source in card_names() else None
        own = self.made_of.formula if self.made_of.formula not in COMPOSITION_COLUMNS else None
        options = DataOptions(
            source=source,
            kind=self.kind,
            target=target,
            id_column=named.id_column,
            composition_column=named.composition_column or own,
            features=list(self.made_of.names) or None,
            composition_features=self.made_of.described,
        )
        table = read_rows(options, card, self.kind)
        if table.features != self.features:
            wanted = listed(self.made_of.used)
            raise InputError(f"{source} does not describe its {self.unit} as the run's data did, by {wanted}")
        return table

    def samples(self, table: Table) -> Arrays:
        """Give the numbers, and which components have no place among them."""
        assert isinstance(table, ArrayTable)
        return Arrays.of(table.inputs, self._beside(table.columns))

    def _settled(self, frame: pd.DataFrame, name: str, named: Named) -> tuple[RowInputs, str | None]:
        """Find the column of formulas and that of ids among those of a file.

        Raises:
            InputError: a column is not there.
        """
        for option, column in (("id_column", named.id_column), ("composition_column", named.composition_column)):
            if column is not None:
                require_column(column, map(str, frame), name, option)
        inputs = self
        if self.made_of.formula is not None:
            looked_for = (named.composition_column, self.made_of.formula, *COMPOSITION_COLUMNS)
            found = next((name for name in looked_for if name in frame), self.made_of.formula)
            inputs = replace(self, made_of=replace(self.made_of, formula=found))
        inputs._require(frame, name)
        return inputs, named.id_column or next((name for name in ID_COLUMNS if name in frame), None)

    def _require(self, frame: pd.DataFrame, name: str) -> None:
        absent = [column for column in self.made_of.used if column not in frame]
        if absent and self.made_of.formula is not None:
            require_column(absent[0], map(str, frame), name, "composition_column")
        if absent:
            none = "; where a component is absent from all rows, add its column with 0"
            raise InputError(
                f"{name} lacks {listed(absent)}, which the run was trained on"
                f"{none if self.kind == 'compositions' else ''}; it has {listed(frame) or 'no columns'}"
            )

    def _rows(self, frame: pd.DataFrame, ids: Sequence[str], where: Sequence[str]) -> Rows[Arrays]:
        numbers = self.made_of.numbers(frame)
        errors = numbers.faults.copy()
        errors[errors == ""] = None
        return Rows(ids, where, Arrays.of(numbers.inputs, self._beside(frame)), errors)

    def _beside(self, frame: pd.DataFrame) -> list[tuple[str, ...]]:
        """Give the components of each row that training had no column for: they count for nothing in its numbers.

        Columns are taken for such by name, formulas of two elements and more: Y and No may be anything.
        """
        import pandas as pd

        if self.kind != "compositions" or self.made_of.formula is not None:
            return [()] * len(frame)
        names = [name for name in map(str, frame) if name not in self.features and _is_compound(name)]
        amounts = [pd.to_numeric(frame[name], errors="coerce").to_numpy(np.float64, na_value=0.0) for name in names]
        held = np.column_stack([np.empty((len(frame), 0)), *amounts]) > 0
        return [tuple(name for name, some in zip(names, row, strict=True) if some) for row in held]


def _is_compound(name: str) -> bool:
    symbols = set(_ELEMENT.findall(name))
    return _FORMULA.fullmatch(name) is not None and len(symbols) > 1 and symbols <= atomic_numbers().keys()


def _ids(values: pd.Series[Any]) -> list[str]:
    return [name or "" for name in as_ids(values)]
