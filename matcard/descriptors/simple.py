"""Fixed numbers of crystals, or the reason why not: from matminer, columns of the source, a file, another package."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import pandas as pd
from pymatgen.core.composition import Composition
from pymatgen.core.periodic_table import Element

from matcard.crystals.crystals import reduced_formulas
from matcard.descriptors.base import Numbers, only_finite
from matcard.errors import InputError, MatcardWarning, listed, nearest_names
from matcard.table_files import open_table

if TYPE_CHECKING:
    from collections.abc import Iterable
    from importlib.metadata import EntryPoint
    from pathlib import Path

    from jaxtyping import Float64

    from matcard.crystals.crystals import Crystals

StructureKind = Literal["density", "symmetry", "sites"]


@dataclass(frozen=True)
class MagpieNumbers:
    """132 statistics of the properties of a crystal's elements, see `magpie_features`."""

    name: ClassVar[str] = "magpie"
    kept: ClassVar[bool] = False

    @property
    def version(self) -> str:
        """The package that has the properties."""
        return f"matminer {version('matminer')}"

    def compute(self, crystals: Crystals) -> Numbers:
        """Compute the numbers of N crystals."""
        return only_finite(
            magpie_features(reduced_formulas(crystals)).to_numpy(), "an element of it has no Magpie features"
        )


def magpie_features(formulas: Iterable[str]) -> pd.DataFrame:
    """Describe formulas by statistics of 22 properties of their elements.

    Ward et al., npj Comput. Mater. 2, 16028 (2016). The features are those of matminer's
    `ElementProperty.from_preset("magpie", impute_nan=True)`: each property's minimum, maximum, range, mean, average
    deviation and mode, weighted by amount; what is not known of an element is the mean over all elements. A distinct
    formula takes about 2 ms.

    Args:
        formulas: text such as Fe2O3 or Zr0.5Cu0.5.

    Returns:
        a row a formula (RangeIndex) and 132 columns, named as matminer does. The row of what is no formula is NaN; a
        `MatcardWarning` says how many there are and which are the first.
    """
    rows = [str(formula) for formula in formulas]
    features = {formula: _magpie_of(formula) for formula in dict.fromkeys(rows)}
    wrong = [formula for formula, values in features.items() if np.isnan(values).all()]
    if wrong:
        warnings.warn(
            f"{len(wrong)} formulas have no Magpie features, since they are no formulas of elements; correct them. "
            f"The first: {', '.join(map(repr, wrong[:3]))}",
            MatcardWarning,
            stacklevel=2,
        )
    labels = _magpie().feature_labels()
    return pd.DataFrame(np.reshape([features[formula] for formula in rows], (-1, len(labels))), columns=labels)


@lru_cache(maxsize=1 << 16)
def _magpie_of(formula: str) -> Float64[np.ndarray, " F"]:
    """Give the features of a formula; NaN of what is none."""
    try:
        composition = Composition(formula).element_composition
        # Of unknown elements pymatgen makes dummies.
        if composition and all(isinstance(element, Element) for element in composition):
            return np.array(_magpie().featurize(composition), dtype=np.float64)
    except (ValueError, KeyError, AttributeError):
        pass
    return np.full(len(_magpie().feature_labels()), np.nan)


@cache
def _magpie() -> Any:
    """Make matminer's featurizer, whose module takes seconds to import."""
    from matminer.featurizers.composition import ElementProperty

    return ElementProperty.from_preset("magpie", impute_nan=True)


@dataclass(frozen=True)
class StructureNumbers:
    """Numbers by matminer's featurizers of structures.

    Attributes:
        name: `density`: density (g/cm3), volume an atom (cubic angstrom), packing fraction, 2 ms a crystal.
            `symmetry`: space group, crystal system, centrosymmetry, number of operations, structural complexity, 15 ms;
            never for a target that is itself a matter of symmetry.
            `sites`: mean and deviation over the sites of CrystalNN's coordination and local order, .3 s.
    """

    name: StructureKind
    kept: ClassVar[bool] = True

    @property
    def version(self) -> str:
        """The packages that compute them."""
        return ", ".join(f"{package} {version(package)}" for package in ("matminer", "pymatgen", "spglib"))

    @property
    def labels(self) -> list[str]:
        """What matminer calls the numbers."""
        return [label for part in _featurizers(self.name) for label in part.feature_labels()]

    def compute(self, crystals: Crystals) -> Numbers:
        """Compute the numbers of N crystals."""
        values = np.full((len(crystals), len(self.labels)), np.nan)
        reasons = np.full(len(crystals), None, dtype=object)
        for row in range(len(crystals)):
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # what is guessed where data of elements are missing
                    structure = crystals.structure(row)
                    values[row] = [number for part in _featurizers(self.name) for number in part.featurize(structure)]
            except Exception as error:  # matminer raises anything
                reasons[row] = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        return only_finite(values, f"matminer does not know all of its {self.name}", reasons)


@cache
def _featurizers(kind: StructureKind) -> list[Any]:
    """Make matminer's featurizers, whose modules take seconds to import."""
    from matminer.featurizers import structure

    if kind == "density":
        return [structure.DensityFeatures()]
    if kind == "symmetry":
        numbers = ["spacegroup_num", "crystal_system_int", "is_centrosymmetric", "n_symmetry_ops"]
        return [structure.GlobalSymmetryFeatures(numbers), structure.StructuralComplexity()]
    return [structure.SiteStatsFingerprint.from_preset("CrystalNNFingerprint_ops")]


@dataclass(frozen=True)
class VolumeNumbers:
    """The volume per atom, in cubic angstrom."""

    name: ClassVar[str] = "volume"
    version: ClassVar[str] = "cubic angstrom per atom"
    kept: ClassVar[bool] = False

    def compute(self, crystals: Crystals) -> Numbers:
        """Compute the number of N crystals."""
        volumes = np.abs(np.linalg.det(crystals.lattice)) / crystals.num_sites
        return only_finite(volumes[:, None], "it has no volume")


@dataclass(frozen=True)
class ColumnNumbers:
    """Columns of the source.

    Attributes:
        columns: their names.
    """

    columns: tuple[str, ...]
    kept: ClassVar[bool] = False
    version: ClassVar[str] = "as the source has them"

    @property
    def name(self) -> str:
        """`columns:` and the names."""
        return f"columns:{','.join(self.columns)}"

    def compute(self, crystals: Crystals) -> Numbers:
        """Read the numbers of N crystals.

        Raises:
            InputError: a column that the source has not.
        """
        for column in self.columns:
            if column not in crystals.columns:
                known = nearest_names(column, map(str, crystals.columns))
                raise InputError(f"--data.descriptors {self.name}: the source has no column {column!r}; {known}")
        values = _as_numbers(crystals.columns[list(self.columns)]).to_numpy()
        reasons = np.full(len(crystals), None, dtype=object)
        for row, k in np.argwhere(~np.isfinite(values)).tolist():
            where = f"{crystals.where[row]} of the source has no number in column {self.columns[k]!r}"
            reasons[row] = reasons[row] or where
        return only_finite(values, "a number is too large for single precision", reasons)


@dataclass(frozen=True)
class FileNumbers:
    """Numbers that were computed elsewhere: a table with a column `id` and columns of numbers.

    Attributes:
        path: of a table, such as a .parquet or .csv file.
    """

    path: Path
    kept: ClassVar[bool] = False
    version: ClassVar[str] = "as the file has them"

    @property
    def name(self) -> str:
        """`file:` and the path."""
        return f"file:{self.path}"

    def compute(self, crystals: Crystals) -> Numbers:
        """Look the numbers of N crystals up by their ids.

        Raises:
            InputError: a file that cannot be read, has no column `id`, an id twice or no column of numbers.
        """
        ids = crystals.ids.astype(str)
        found = self._table.reindex(ids).to_numpy()
        reasons, missing = np.full(len(crystals), None, dtype=object), ~np.isin(ids, self._table.index)
        if names := ids[missing].tolist():
            reasons[missing] = [f"{self.path} has no row with the id {name!r}; add one" for name in names]
            warnings.warn(
                f"{self.path} has no row with the ids of {len(names)} of {len(ids)} crystals, "
                f"{listed(map(repr, names))}; add them",
                MatcardWarning,
                stacklevel=2,
            )
        gaps = np.array(self.columns)[~np.isfinite(found[~missing]).all(axis=0)]
        return only_finite(found, f"{self.path} has no number in one of: {listed(gaps.tolist())}", reasons)

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of its columns of numbers."""
        return tuple(map(str, self._table))

    @cached_property
    def _table(self) -> pd.DataFrame:
        opened = open_table(self.path)
        if opened is None:
            raise InputError(f"{self.path} cannot be read: a table (.parquet, .csv, .jsonl, .json) was expected")
        table = opened.whole()
        if "id" not in table:
            raise InputError(f"{self.path} has no column 'id' that says which crystal a row is about")
        ids = table.pop("id").astype(str)
        if ids.duplicated().any():
            raise InputError(f"{self.path} has the id {ids[ids.duplicated()].iloc[0]!r} twice; keep one row of each")
        table = _as_numbers(table).set_axis(ids.to_numpy(), axis=0)
        wrong = [str(name) for name in table if table[name].isna().all()]
        if wrong or table.shape[1] == 0:
            what = f"no number in column {wrong[0]!r}" if wrong else "no column beside 'id'"
            raise InputError(f"{self.path} has {what}; expected numbers, as many columns as there are")
        return table


def _as_numbers(table: pd.DataFrame) -> pd.DataFrame:
    """Give cells as float64, NaN where they are none."""
    numbers: pd.DataFrame = table.apply(pd.to_numeric, errors="coerce").astype(np.float64)
    return numbers


class InstalledNumbers:
    """What another package gives: a callable that takes a list of pymatgen structures and gives (N, F) numbers.

    Args:
        entry: its entry point in the group `matcard.descriptors`.
    """

    kept: ClassVar[bool] = True

    def __init__(self, entry: EntryPoint) -> None:
        self.entry = entry
        self.name = entry.name

    @property
    def version(self) -> str:
        """The package that brings it."""
        package = self.entry.dist
        return "unknown package" if package is None else f"{package.name} {package.version}"

    def compute(self, crystals: Crystals) -> Numbers:
        """Compute the numbers of N crystals.

        Raises:
            InputError: the callable cannot be imported, fails, or gives numbers of a wrong shape.
        """
        structures = [crystals.structure(row) for row in range(len(crystals))]
        whose = f"--data.descriptors {self.name} ({self.version}, {self.entry.value})"
        try:
            given = np.asarray(self.entry.load()(structures), dtype=np.float64) if structures else np.empty((0, 0))
        except Exception as error:  # other people's code raises anything
            raise InputError(f"{whose} failed: {type(error).__name__}: {error}") from error
        if given.ndim != 2 or len(given) != len(structures):
            raise InputError(
                f"{whose} gave numbers of shape {given.shape} for {len(structures)} structures; expected "
                f"({len(structures)}, F)"
            )
        return only_finite(given, f"{self.name} gave no numbers for it")
