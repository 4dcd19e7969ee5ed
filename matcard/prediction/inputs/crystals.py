"""Crystals: structure files, tables, what ASE reads; a run builds the graphs that it was trained on."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from matcard.crystals.crystals import Crystals
from matcard.crystals.options import GraphOptions
from matcard.crystals.readers.batch import Wanted
from matcard.crystals.readers.structure_file import is_structure_file
from matcard.crystals.table import CrystalTable
from matcard.data.card import card_names, load_card
from matcard.data.groups import reduced_formulas
from matcard.data.labelled import CrystalData
from matcard.data.options import DataOptions
from matcard.data.sources import load_table
from matcard.data.unused import tell_unused
from matcard.prediction.inputs.base import Inputs
from matcard.prediction.inputs.crystal_rows import object_rows, read_rows
from matcard.prediction.inputs.crystal_sources import input_batches, structures_of
from matcard.prediction.inputs.paths import find_paths

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import IO, Self

    from jaxtyping import Int

    from matcard.crystals.batches import GraphDataset
    from matcard.crystals.readers.batch import Batch
    from matcard.data.labelled import LabelledData
    from matcard.data.tables import Table
    from matcard.prediction.inputs.base import Named, Progress, Rows

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
        return find_paths(inputs, structures_of, TAKES)

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
        batches = input_batches(
            paths, Wanted(named.id_column, named.structure_column, labels_needed=False), stream, failures
        )
        told = len(paths) == 1 or all(path and is_structure_file(path) for path in paths)
        reading = Reading(progress, told)
        return read_rows(reading.noted(batches), jobs, reading.advance)

    def wrap(self, objects: Iterable[Any], ids: Sequence[str] | None) -> Rows[Crystals]:
        """Take pymatgen and ASE objects, mixed."""
        return object_rows(objects, ids)

    def dataset(self, samples: Crystals, jobs: int | None = None) -> GraphDataset:
        """Give crystal graphs."""
        from matcard.crystals import build_graphs
        from matcard.crystals.batches import GraphDataset

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
        from matcard.crystals.readers.read import read_crystals

        if source in card_names():
            card = load_card(source)
            options = DataOptions(source, id_column=named.id_column, structure_column=named.structure_column)
            tell_unused(options, card)
            return load_table(card, jobs=jobs or 1, progress=progress)
        return read_crystals(
            source,
            id_column=named.id_column,
            structure_column=named.structure_column,
            target=target,
            jobs=jobs,
            progress=progress,
        )

    def samples(self, table: Table) -> Crystals:
        """Give the crystals."""
        assert isinstance(table, CrystalTable)
        return table.crystals


@dataclass
class Reading:
    """Counts the rows that are read, of how many where `told` says that the batches know."""

    progress: Progress
    told: bool
    done: int = 0
    total: int | None = None

    def noted(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """Hand batches on and look at how many rows there are in all."""
        for batch in batches:
            self.total = batch.total if self.told else None
            yield batch

    def advance(self, rows: int) -> None:
        """Count rows that are done."""
        self.done += rows
        self.progress(self.done, self.total)
