"""Numbers of crystals from their composition, from columns of the source, from a file, or from another package."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd

from matcard.crystals.crystals import is_none
from matcard.data.composition_features import magpie_of_crystals
from matcard.descriptors.base import Numbers, only_finite
from matcard.errors import InputError, nearest_names

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint
    from pathlib import Path

    from jaxtyping import Float64

    from matcard.crystals.crystals import Crystals
    from matcard.descriptors.base import Progress


@dataclass(frozen=True)
class MagpieNumbers:
    """132 statistics of the properties of a crystal's elements (Ward et al., npj Comput. Mater. 2, 16028, 2016)."""

    name: ClassVar[str] = "magpie"
    kept: ClassVar[bool] = False

    @property
    def version(self) -> str:
        """The package that has the properties."""
        return f"matminer {version('matminer')}"

    def compute(self, crystals: Crystals, progress: Progress | None = None) -> Numbers:
        """Compute the numbers of N crystals."""
        features = magpie_of_crystals(crystals.take(np.flatnonzero(crystals.sound)))
        values = np.full((len(crystals), features.shape[1]), np.nan)
        values[crystals.sound] = features.to_numpy(np.float64)
        return only_finite(values, crystals.faults, "an element of it has no Magpie features")


@dataclass(frozen=True)
class VolumeNumbers:
    """The volume per atom, in cubic angstrom."""

    name: ClassVar[str] = "volume"
    version: ClassVar[str] = "cubic angstrom per atom"
    kept: ClassVar[bool] = False

    def compute(self, crystals: Crystals, progress: Progress | None = None) -> Numbers:
        """Compute the number of N crystals."""
        volumes = np.abs(np.linalg.det(crystals.lattice)) / np.maximum(crystals.num_sites, 1)
        return only_finite(volumes[:, None], crystals.faults, "it has no volume")


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

    def compute(self, crystals: Crystals, progress: Progress | None = None) -> Numbers:
        """Read the numbers of N crystals.

        Raises:
            InputError: a column that the source has not.
        """
        for column in self.columns:
            if column not in crystals.columns:
                known = nearest_names(column, map(str, crystals.columns))
                raise InputError(f"--data.descriptors {self.name}: the source has no column {column!r}; {known}")
        numbers = _as_numbers(crystals.columns[list(self.columns)])
        return _named(numbers, crystals, "of the source has no number in column")


@dataclass(frozen=True)
class FileNumbers:
    """Numbers that were computed elsewhere: a table with a column `id` and columns of numbers.

    Attributes:
        path: a .parquet or .csv file.
    """

    path: Path
    kept: ClassVar[bool] = False
    version: ClassVar[str] = "as the file has them"

    @property
    def name(self) -> str:
        """`file:` and the path."""
        return f"file:{self.path}"

    def compute(self, crystals: Crystals, progress: Progress | None = None) -> Numbers:
        """Look the numbers of N crystals up by their ids.

        Raises:
            InputError: a file that cannot be read, has no column `id`, an id twice or no column of numbers.
        """
        table = self._table()
        place = pd.Index(table.index).get_indexer(crystals.ids.astype(str))
        values = np.full((len(crystals), table.shape[1]), np.nan)
        values[place >= 0] = table.to_numpy(np.float64)[place[place >= 0]]
        absent = (place < 0) & crystals.sound
        faults = np.where(absent, f"{self.path} has no row with this id; add one", crystals.faults)
        return only_finite(values, faults, f"{self.path} has no number in one of its columns")

    def _table(self) -> pd.DataFrame:
        try:
            if self.path.suffix == ".parquet":
                table = pd.read_parquet(self.path)
            else:
                table = pd.read_csv(self.path, dtype={"id": str})
        except (OSError, ValueError) as error:
            raise InputError(f"{self.path} cannot be read as a .parquet or .csv file ({error})") from error
        if "id" not in table and "id" in table.index.names:
            table = table.reset_index()
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

    def compute(self, crystals: Crystals, progress: Progress | None = None) -> Numbers:
        """Compute the numbers of N crystals.

        Raises:
            InputError: the callable cannot be imported, fails, or gives numbers of a wrong shape.
        """
        rows = np.flatnonzero(crystals.sound)
        if not len(rows):
            return Numbers(np.empty((len(crystals), 0), np.float32), crystals.faults)
        given = self._call([crystals.structure(int(row)) for row in rows])
        values = np.full((len(crystals), given.shape[1]), np.nan)
        values[rows] = given
        return only_finite(values, crystals.faults, f"{self.name} gave no numbers for it")

    def _call(self, structures: list[Any]) -> Float64[np.ndarray, "M F"]:
        whose = f"--data.descriptors {self.name} ({self.version}, {self.entry.value})"
        try:
            given = np.asarray(self.entry.load()(structures), dtype=np.float64)
        except Exception as error:  # other people's code raises anything
            raise InputError(f"{whose} failed: {type(error).__name__}: {error}") from error
        if given.ndim != 2 or len(given) != len(structures):
            raise InputError(
                f"{whose} gave numbers of shape {given.shape} for {len(structures)} structures; expected "
                f"({len(structures)}, F)"
            )
        return given


def _as_numbers(table: pd.DataFrame) -> pd.DataFrame:
    """Give cells as float64, NaN where they are none."""
    numbers = {name: np.asarray(pd.to_numeric(table[name], errors="coerce"), np.float64) for name in table}
    return pd.DataFrame(numbers, index=table.index)


def _named(table: pd.DataFrame, crystals: Crystals, what: str) -> Numbers:
    """Give a reason that names the first column without a number in a row."""
    values = table.to_numpy(np.float64)
    bad = ~np.isfinite(values)
    reasons = crystals.faults.copy()
    for row in np.flatnonzero(bad.any(axis=1) & is_none(reasons)):
        reasons[row] = f"{crystals.where[row]} {what} {table.columns[int(bad[row].argmax())]!r}"
    return only_finite(values, reasons, "a number is too large for single precision")
