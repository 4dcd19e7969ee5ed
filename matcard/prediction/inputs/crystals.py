"""Crystals: structure files, tables, what ASE reads; a run builds the graphs that it was trained on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from matcard.crystals.crystals import EMPTY, Crystals, objects
from matcard.crystals.decode import object_decoder
from matcard.crystals.files import CHUNK, is_structure_file
from matcard.crystals.folder import STDIN, Folder
from matcard.crystals.graphs import GraphDataset, build_graphs
from matcard.crystals.neighbors import GraphOptions
from matcard.crystals.read import from_objects, read_crystals
from matcard.crystals.table import CrystalTable
from matcard.data.card import card_names, load_card
from matcard.data.groups import reduced_formulas
from matcard.data.labelled import CrystalData
from matcard.data.options import DataOptions
from matcard.data.sources import load_crystals
from matcard.data.unused import tell_unused
from matcard.errors import InputError
from matcard.prediction.inputs.base import Inputs, Rows
from matcard.prediction.inputs.paths import find_paths

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import IO, Self

    from jaxtyping import Int

    from matcard.data.labelled import LabelledData
    from matcard.data.tables import Table
    from matcard.prediction.inputs.base import Named, Progress

TAKES = "structure files, patterns such as 'new/*.cif', folders, tables, ASE databases, or - for standard input"


@dataclass(frozen=True)
class CrystalInputs(Inputs[Crystals]):
    """Crystal graphs, built with `graph`."""

    columns: ClassVar[tuple[str, ...]] = ("id_column", "structure_column")
    overlap: ClassVar[dict[str, str]] = {"ids": "by id", "formulas": "by formula"}

    graph: GraphOptions

    @property
    def kind(self) -> Literal["crystals"]:
        """Crystals."""
        return "crystals"

    @property
    def read_as(self) -> str:
        """The same for all: the graphs of each run are made of the same crystals."""
        return self.kind

    @classmethod
    def of_data(cls, data: LabelledData) -> Self:
        """Take how `data` were made."""
        assert isinstance(data, CrystalData)
        return cls(data.graph_options)

    def to_dict(self) -> dict[str, Any]:
        """Give plain values."""
        return {"graph": asdict(self.graph)}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """Make it of plain values."""
        return cls(GraphOptions(**stored["graph"]))

    def find(self, inputs: Sequence[str]) -> list[Path | None]:
        """Find structure files, folders, tables, databases, standard input."""
        return find_paths(inputs, _in_folder, TAKES)

    def read(
        self,
        paths: Sequence[Path | None],
        named: Named,
        stream: IO[bytes],
        failures: list[str],
        jobs: int | None,
        progress: Progress,
    ) -> Iterator[Rows[Crystals]]:
        """Read structures; one that cannot be parsed has a reason."""
        for single, group in groupby(paths, key=lambda path: path is not None and is_structure_file(path)):
            some = list(group)
            sources: list[Any] = [some] if single else some  # structure files together
            for source in sources:
                try:
                    crystals = read_crystals(
                        stream if source is None else source,
                        id_column=None if single else named.id_column,
                        structure_column=None if single else named.structure_column,
                        jobs=jobs,
                        progress=progress if len(sources) == 1 else None,
                        repeats=True,
                    )
                except InputError as error:
                    failures.append(str(error))
                    crystals = _failed(source, str(error))
                yield from _rows(crystals)

    def wrap(self, objects: Iterable[Any], ids: Sequence[str] | None) -> Rows[Crystals]:
        """Take pymatgen and ASE objects, mixed."""
        if not isinstance(objects, Iterable):
            raise InputError(f"structures is a {type(objects).__name__}: a list of structures was expected")
        crystals = from_objects([objects] if object_decoder(objects) else objects, ids)
        return Rows(crystals.ids.tolist(), crystals.where.tolist(), crystals, crystals.faults)

    def dataset(self, samples: Crystals, jobs: int | None = None) -> GraphDataset:
        """Give crystal graphs."""
        return GraphDataset(build_graphs(samples, self.graph, jobs=jobs), np.zeros(len(samples), np.int64))

    def contents(self, samples: Crystals) -> list[tuple[str, ...]]:
        """Give the symbols of the elements in each crystal, by atomic number."""
        from ase.data import chemical_symbols

        bounds = zip(samples.offsets[:-1], samples.offsets[1:], strict=True)
        return [tuple(chemical_symbols[z] for z in sorted(set(samples.numbers[a:b].tolist()))) for a, b in bounds]

    def trained_on(self, data: LabelledData, positions: Int[np.ndarray, " m"]) -> Crystals:
        """Give ids and atoms."""
        assert isinstance(data, CrystalData)
        return data.crystals.take(positions)

    def marks(self, samples: Crystals) -> dict[str, list[str]]:
        """Give ids and reduced formulas."""
        return {"ids": samples.ids.tolist(), "formulas": reduced_formulas(samples).tolist()}

    def read_table(
        self, source: str, target: str | None, named: Named, jobs: int | None, progress: Progress | None
    ) -> CrystalTable:
        """Read crystals with their other columns."""
        if source in card_names():
            card = load_card(source)
            options = DataOptions(source, id_column=named.id_column, structure_column=named.structure_column)
            tell_unused(options, card)
            return CrystalTable.of(load_crystals(card, jobs=jobs, progress=progress))
        crystals = read_crystals(
            source,
            id_column=named.id_column,
            structure_column=named.structure_column,
            jobs=jobs,
            progress=progress,
        )
        return CrystalTable.of(crystals.with_label(target))

    def samples(self, table: Table) -> Crystals:
        """Give the crystals."""
        assert isinstance(table, CrystalTable)
        return table.crystals


def _in_folder(folder: Path) -> list[Path]:
    """Give what a folder stands for: its structure files if it has any, else what its `id_prop.csv` names."""
    return Folder(folder).structures or [folder]


def _failed(path: Path | None, message: str) -> Crystals:
    """Give a row for an input that cannot be read."""
    where = objects([str(path or STDIN)])
    return Crystals(
        objects([""]),
        np.zeros((1, 3, 3)),
        np.zeros(2, np.int64),
        EMPTY.numbers,
        EMPTY.frac_coords,
        where,
        objects([message]),
    )


def _rows(crystals: Crystals) -> Iterator[Rows[Crystals]]:
    """Give crystals some thousand at a time."""
    for start in range(0, len(crystals), CHUNK):
        some = crystals.take(np.arange(start, min(start + CHUNK, len(crystals))))
        yield Rows(some.ids.tolist(), some.where.tolist(), some, some.faults)
