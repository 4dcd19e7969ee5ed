"""matminer's numbers of whole structures: their density, their symmetry, the surroundings of their sites."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from matcard.descriptors.base import Numbers, only_finite

if TYPE_CHECKING:
    from matcard.crystals.crystals import Crystals
    from matcard.descriptors.base import Progress

StructureKind = Literal["density", "symmetry", "sites"]


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

    def compute(self, crystals: Crystals, progress: Progress | None = None) -> Numbers:
        """Compute the numbers of N crystals."""
        values = np.full((len(crystals), len(self.labels)), np.nan)
        reasons = crystals.faults.copy()
        for row in np.flatnonzero(crystals.sound).tolist():
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # what is guessed where data of elements are missing
                    structure = crystals.structure(row)
                    values[row] = [number for part in _featurizers(self.name) for number in part.featurize(structure)]
            except Exception as error:  # matminer raises anything
                reasons[row] = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        return only_finite(values, reasons, f"matminer does not know all of its {self.name}")


@cache
def _featurizers(kind: StructureKind) -> list[Any]:
    """Make matminer's featurizers, whose modules take seconds to import."""
    if kind == "density":
        from matminer.featurizers.structure.order import DensityFeatures

        return [DensityFeatures()]
    if kind == "symmetry":
        from matminer.featurizers.structure.order import StructuralComplexity
        from matminer.featurizers.structure.symmetry import GlobalSymmetryFeatures

        numbers = ["spacegroup_num", "crystal_system_int", "is_centrosymmetric", "n_symmetry_ops"]
        return [GlobalSymmetryFeatures(numbers), StructuralComplexity()]
    from matminer.featurizers.structure.sites import SiteStatsFingerprint

    return [SiteStatsFingerprint.from_preset("CrystalNNFingerprint_ops")]
