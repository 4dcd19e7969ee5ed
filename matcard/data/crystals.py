"""Crystals as samples: structure files, tables, what ASE reads; a network sees the graphs that `graph` describes."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch
from ase.data import chemical_symbols

from matcard.batch import ArrayDataset, Standard, directions
from matcard.cache import cache_dir
from matcard.crystals.batches import Folder
from matcard.crystals.crystals import Crystals, contents, reduced_formulas
from matcard.crystals.decode import object_decoder
from matcard.crystals.read import from_objects, read_crystals
from matcard.data.samples import Kind, Samples
from matcard.descriptors.base import Part
from matcard.descriptors.describe import describe, find_descriptor, find_descriptors
from matcard.errors import InputError, MatcardWarning
from matcard.files import find_paths, is_structure_file
from matcard.graphs.graphs import GraphDataset, build_graphs, open_graphs
from matcard.graphs.neighbors import GraphOptions
from matcard.table_files import CHUNK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import IO, Self

    import pandas as pd
    from jaxtyping import Float32, Float64, Int, Int64, Shaped
    from torch import Tensor

    from matcard.data.card import Card
    from matcard.data.options import DataOptions
    from matcard.data.samples import Progress, Source
    from matcard.descriptors.base import Numbers

TAKES = "structure files, patterns such as 'new/*.cif', folders, tables, ASE databases, or - for standard input"


@dataclass(frozen=True)
class CrystalKind(Kind):
    """Crystal graphs, built with `graph`, and fixed numbers beside them that `descriptors` make.

    Where `graph` is None no graphs are built: a sample is its descriptors. `deuterium` says whether D is read
    as hydrogen.
    """

    overlap: ClassVar[dict[str, str]] = {"ids": "by id", "formulas": "by formula"}

    graph: GraphOptions | None
    descriptors: tuple[Part, ...] = ()
    deuterium: bool = False
    name: Literal["crystals"] = "crystals"

    @property
    def read_as(self) -> tuple[str, bool]:
        """The same for all that read D alike: the graphs of each run are made of the same crystals."""
        return self.name, self.deuterium

    @classmethod
    def of(cls, options: DataOptions, crystals: Crystals) -> Self:
        """Make it by the options for graphs and descriptors; the crystals tell how many numbers the latter are.

        Raises:
            InputError: descriptors that cannot be had here.
        """
        kind = cls(options.graph, deuterium=options.deuterium)
        if wanted := find_descriptors(options.descriptors):
            # A few crystals tell versions and widths; the numbers of all of them follow.
            some = crystals.take(np.flatnonzero(crystals.sound)[:1])
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # all will be told of all
                kind = replace(kind, descriptors=describe(wanted, some, cache_dir() / "descriptors").parts)
        return kind

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """Make it of plain values."""
        graph = None if stored["graph"] is None else GraphOptions(**stored["graph"])
        return cls(graph, tuple(Part(*part) for part in stored["descriptors"]), bool(stored["deuterium"]))

    @property
    def model_arguments(self) -> dict[str, Any]:
        """What standardises descriptors, where there are some: nothing as yet, the weights of a network hold it."""
        width = sum(part.width for part in self.descriptors)
        return {"descriptors": Standard(np.zeros(width), np.ones(width))} if width else {}

    def find(self, words: Sequence[str]) -> Sequence[Source]:
        """Find structure files (those side by side are one input), folders, tables, databases, standard input."""
        paths = find_paths(words, lambda folder: Folder(folder).structures or [folder], TAKES)
        sources: list[Source] = []
        for single, group in groupby(paths, lambda path: path is not None and is_structure_file(path)):
            files = list(group)
            chunks = [files[k : k + CHUNK] for k in range(0, len(files), CHUNK)] if single else files
            sources += chunks  # type: ignore[arg-type]
        return sources

    def pieces(self, source: Source, options: DataOptions, stream: IO[bytes], progress: Progress) -> Iterator[Samples]:
        """Read structures; one that cannot be parsed has a fault."""
        path = source if isinstance(source, Path) else None
        crystals = read_crystals(
            stream if source is None else source,
            id_column=options.id_column if path else None,
            structure_column=options.structure_column if path else None,
            deuterium=self.deuterium,
            jobs=options.jobs,
            progress=progress,
            repeats=True,
        )
        for k in range(0, len(crystals), CHUNK):
            yield self.samples(crystals.take(np.arange(k, min(k + CHUNK, len(crystals)))))

    def wrap(self, given: Iterable[Any], ids: Sequence[str] | None) -> Samples:
        """Take objects of pymatgen and ASE and paths of structure files, mixed."""
        if not isinstance(given, Iterable):
            raise InputError(f"structures is a {type(given).__name__}: a list of structures was expected")
        single = isinstance(given, (str, Path)) or object_decoder(given) is not None
        return self.samples(from_objects([given] if single else given, ids, deuterium=self.deuterium))

    def samples(self, crystals: Crystals, *, jobs: int | None = None, progress: Progress | None = None) -> Samples:
        """Give crystals as samples; those without descriptors, where the network takes some, have a fault.

        Raises:
            InputError: descriptors that cannot be had here.
        """
        if self.descriptors:
            crystals = crystals.with_faults(self.described(crystals, jobs=jobs, progress=progress).reasons)
        return Samples(crystals.ids, crystals.where, crystals, crystals.columns, crystals.faults, self)

    def described(self, crystals: Crystals, *, jobs: int | None = None, progress: Progress | None = None) -> Numbers:
        """Compute the descriptors of crystals, or find them in the cache.

        Raises:
            InputError: a package that is not installed, a file that cannot be read, or other numbers than in training.
        """
        wanted = tuple(find_descriptor(part.name) for part in self.descriptors)
        found = describe(wanted, crystals, cache_dir() / "descriptors", jobs=jobs, progress=progress)
        for known, here in zip(self.descriptors, found.parts, strict=True):
            if here.width not in (0, known.width):
                raise InputError(
                    f"descriptors {known.name}: {here.width} numbers a crystal here and {known.width} in training "
                    f"({here.version}; {known.version}); use what the network was trained on"
                )
            if here.version != known.version:
                warnings.warn(
                    f"descriptors {known.name} were made in training by {known.version}, and here by {here.version}: "
                    "predictions may differ",
                    MatcardWarning,
                    stacklevel=3,
                )
        return found

    def dataset(
        self,
        inputs: Crystals,
        targets: Int64[np.ndarray, " N"],
        *,
        kept: bool = False,
        jobs: int | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> GraphDataset | ArrayDataset:
        """Give crystal graphs, with their descriptors, or the descriptors alone."""
        described = None
        if self.descriptors:
            found = self.described(inputs, jobs=jobs)
            if missing := [reason for reason in found.reasons if reason is not None]:
                raise InputError(missing[0])
            described = found.values
        if self.graph is None:
            assert described is not None, "without graphs there are descriptors"
            made = ArrayDataset(described, targets)
            made.descriptors = torch.from_numpy(described)
            return made
        if kept:
            graphs = open_graphs(inputs, self.graph, cache_dir() / "graphs", jobs=jobs, progress=progress)
        else:
            graphs = build_graphs(inputs, self.graph, jobs=jobs, progress=progress)
        return GraphDataset(graphs, targets, described)

    def notes(self, dataset: GraphDataset | ArrayDataset) -> list[str]:
        """Say how many atoms have fewer neighbours than asked for, or a shell that was cut."""
        if self.graph is None or isinstance(dataset, ArrayDataset):
            return []
        graphs, options = dataset.graphs, self.graph
        within = f"{options.neighbors} neighbours within {options.radius:g} A"
        counts = {
            "without any neighbour": graphs.isolated,
            f"with fewer than {within}": graphs.short,
            f"whose shell of equal distances was cut to keep {options.neighbors} neighbours": graphs.truncated,
        }
        return [f"{np.sum(atoms)} atoms {what}" for what, atoms in counts.items() if np.any(atoms)]

    def oddities(self, dataset: GraphDataset | ArrayDataset) -> list[str | None]:
        """Tell atoms that have no neighbour: the network sees nothing of where they are."""
        if self.graph is None or isinstance(dataset, ArrayDataset):
            return [None] * len(dataset)
        return [
            f"{count} atoms without any neighbour within {self.graph.radius:g} A" if count else None
            for count in dataset.graphs.isolated.tolist()
        ]

    def families(self, samples: Samples) -> Shaped[np.ndarray, " N"]:
        """Give the reduced formulas."""
        return reduced_formulas(samples.inputs)

    def points(
        self,
        inputs: Crystals,
        descriptors: Float32[Tensor, "N D"] | None = None,
        by: Int[np.ndarray, " M"] | None = None,
    ) -> Float64[Tensor, "N F"]:
        """Give the directions of the descriptors, or of Magpie features and the volume per atom without them."""
        if descriptors is None:
            found = describe(find_descriptors("magpie,volume"), inputs, cache_dir() / "descriptors")
            return directions(found.values, by)
        return directions(descriptors.numpy(), by)

    def contents(self, inputs: Crystals, columns: pd.DataFrame) -> list[tuple[str, ...]]:
        """Give the symbols of the elements in each crystal, by atomic number."""
        return [tuple(chemical_symbols[number] for number, _ in content) for content in contents(inputs)]

    def marks(self, samples: Samples) -> dict[str, list[str]]:
        """Give ids and reduced formulas."""
        return {"ids": samples.ids.tolist(), "formulas": reduced_formulas(samples.inputs).tolist()}


KIND = CrystalKind


def read(options: DataOptions, card: Card | None, like: CrystalKind | None, progress: Progress | None) -> Samples:
    """Read the crystals of a source, and of a second one as the test part, parsed once: they are kept in the cache.

    Args:
        options: source, columns, graphs.
        card: the source's, where it is the name of one.
        like: what a run was trained on, whose graphs and reading of D go before the options'.
        progress: called with the rows parsed and their number, an estimate or None; not where nothing is parsed.

    Raises:
        InputError: a source that cannot be read, or a column that is not there.
    """
    deuterium = options.deuterium if like is None else like.deuterium
    if card is not None:
        from matcard.data.sources import load_crystals  # what fetches takes a second that prediction does without

        crystals = load_crystals(card, deuterium=deuterium, jobs=options.jobs, progress=progress)
    else:
        crystals = read_crystals(
            options.source,
            id_column=options.id_column,
            structure_column=options.structure_column,
            deuterium=deuterium,
            jobs=options.jobs,
            progress=progress,
        ).with_label(options.target)
    like = like or CrystalKind.of(options, crystals)
    samples = like.samples(crystals, jobs=options.jobs, progress=progress)
    if options.test_source is None:
        return samples
    second = read(replace(options, source=options.test_source, test_source=None), None, like, progress)
    return samples.followed_by_test(second, options.test_source, (options.target, options.split.column))
