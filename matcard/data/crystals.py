"""Crystals as samples: structure files, tables, what ASE reads; a network sees the graphs that `graph` describes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from ase.data import chemical_symbols

from matcard.crystals.crystals import EMPTY, Crystals, objects
from matcard.crystals.decode import object_decoder
from matcard.crystals.files import CHUNK, is_structure_file
from matcard.crystals.folder import Folder
from matcard.crystals.graphs import GraphDataset, build_graphs, open_graphs
from matcard.crystals.neighbors import GraphOptions
from matcard.crystals.read import from_objects, read_crystals
from matcard.data.cache import cache_dir
from matcard.data.groups import reduced_formulas
from matcard.data.inputs import find_paths
from matcard.data.samples import Kind, Samples
from matcard.data.sources import load_crystals
from matcard.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import IO, Self

    import pandas as pd
    from jaxtyping import Int64

    from matcard.data.card import Card
    from matcard.data.options import DataOptions
    from matcard.data.samples import Named, Progress, Source

TAKES = "structure files, patterns such as 'new/*.cif', folders, tables, ASE databases, or - for standard input"


@dataclass(frozen=True)
class CrystalKind(Kind):
    """Crystal graphs, built with `graph`."""

    columns: ClassVar[tuple[str, ...]] = ("id_column", "structure_column")
    overlap: ClassVar[dict[str, str]] = {"ids": "by id", "formulas": "by formula"}

    graph: GraphOptions
    name: Literal["crystals"] = "crystals"

    @property
    def read_as(self) -> str:
        """The same for all: the graphs of each run are made of the same crystals."""
        return self.name

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """Make it of plain values."""
        return cls(GraphOptions(**stored["graph"]))

    def find(self, words: Sequence[str]) -> list[Source]:
        """Find structure files (those side by side are one input), folders, tables, databases, standard input."""
        paths = find_paths(words, lambda folder: Folder(folder).structures or [folder], TAKES)
        sources: list[Source] = []
        for single, group in groupby(paths, lambda path: path is not None and is_structure_file(path)):
            files = list(group)
            chunks = [files[k : k + CHUNK] for k in range(0, len(files), CHUNK)] if single else files
            sources += chunks  # type: ignore[arg-type]
        return sources

    def pieces(
        self, source: Source, named: Named, stream: IO[bytes], jobs: int | None, progress: Progress
    ) -> Iterator[Samples]:
        """Read structures; one that cannot be parsed has a fault."""
        path = source if isinstance(source, Path) else None
        crystals = read_crystals(
            stream if source is None else source,
            id_column=named.id_column if path else None,
            structure_column=named.structure_column if path else None,
            jobs=jobs,
            progress=progress,
            repeats=True,
        )
        for k in range(0, len(crystals), CHUNK):
            yield self.samples(crystals.take(np.arange(k, min(k + CHUNK, len(crystals)))))

    def wrap(self, given: Iterable[Any], ids: Sequence[str] | None) -> Samples:
        """Take objects of pymatgen and ASE, mixed."""
        if not isinstance(given, Iterable):
            raise InputError(f"structures is a {type(given).__name__}: a list of structures was expected")
        return self.samples(from_objects([given] if object_decoder(given) else given, ids))

    def samples(self, crystals: Crystals) -> Samples:
        """Give crystals as samples."""
        return Samples(crystals.ids, crystals.where, crystals, crystals.columns, crystals.faults, self)

    def blank(self) -> Crystals:
        """Give a crystal of nothing."""
        no_cell, faults = np.zeros((1, 3, 3)), objects(["nothing was read"])
        return Crystals(objects([""]), no_cell, np.zeros(2, np.int64), EMPTY.numbers, EMPTY.frac_coords, faults=faults)

    def dataset(
        self,
        inputs: Crystals,
        targets: Int64[np.ndarray, " N"],
        *,
        kept: bool = False,
        jobs: int | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> GraphDataset:
        """Give crystal graphs."""
        if kept:
            graphs = open_graphs(inputs, self.graph, cache_dir() / "graphs", jobs=jobs, progress=progress)
            return GraphDataset(graphs, targets)
        return GraphDataset(build_graphs(inputs, self.graph, jobs=jobs, progress=progress), targets)

    def notes(self, dataset: GraphDataset) -> list[str]:
        """Say how many atoms have fewer neighbours than asked for, or a shell that was cut."""
        graphs, options = dataset.graphs, self.graph
        within = f"{options.neighbors} neighbours within {options.radius:g} A"
        counts = {
            "without any neighbour": graphs.isolated,
            f"with fewer than {within}": graphs.short,
            f"whose shell of equal distances was cut to keep {options.neighbors} neighbours": graphs.truncated,
        }
        return [f"{np.sum(atoms)} atoms {what}" for what, atoms in counts.items() if np.any(atoms)]

    def oddities(self, dataset: GraphDataset) -> list[str | None]:
        """Tell atoms that have no neighbour: the network sees nothing of where they are."""
        return [
            f"{count} atoms without any neighbour within {self.graph.radius:g} A" if count else None
            for count in dataset.graphs.isolated.tolist()
        ]

    def contents(self, inputs: Crystals, columns: pd.DataFrame) -> list[tuple[str, ...]]:
        """Give the symbols of the elements in each crystal, by atomic number."""
        bounds = zip(inputs.offsets[:-1], inputs.offsets[1:], strict=True)
        return [tuple(chemical_symbols[z] for z in sorted(set(inputs.numbers[a:b].tolist()))) for a, b in bounds]

    def marks(self, samples: Samples) -> dict[str, list[str]]:
        """Give ids and reduced formulas."""
        return {"ids": samples.ids.tolist(), "formulas": reduced_formulas(samples.inputs).tolist()}


def read(options: DataOptions, card: Card | None, like: CrystalKind | None, progress: Progress | None) -> Samples:
    """Read the crystals of a source, parsed once: they are kept in the cache.

    Args:
        options: source, columns, graphs.
        card: the source's, where it is the name of one.
        like: what a run was trained on, whose graphs go before the options'.
        progress: called with the rows parsed and their number, an estimate or None; not where nothing is parsed.

    Raises:
        InputError: a source that cannot be read, or a column that is not there.
    """
    if card is not None:
        crystals = load_crystals(card, jobs=options.jobs, progress=progress)
    else:
        crystals = read_crystals(
            options.source,
            id_column=options.id_column,
            structure_column=options.structure_column,
            jobs=options.jobs,
            progress=progress,
        ).with_label(options.target)
    return (like or CrystalKind(options.graph)).samples(crystals)
