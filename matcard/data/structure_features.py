"""matminer's features of whole structures as a table, for rivals that are no networks; computed once."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from joblib import delayed

from matcard.crystals.cache import PYMATGEN, built_in_pieces, code_digest, kept, map_arrays
from matcard.data.composition_features import magpie_of_crystals
from matcard.errors import InputError, nearest_names
from matcard.parallel import in_order

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    import pandas as pd
    from jaxtyping import Float64

    from matcard.crystals.crystals import Crystals

FeatureKind = Literal["magpie", "density", "symmetry", "sites"]
"""What `open_features` can give of a crystal:

- `magpie`: 132 statistics of the properties of its elements, microseconds a crystal;
- `density`: density, volume an atom, packing fraction, 2 ms;
- `symmetry`: space group, crystal system, centrosymmetry, number of operations, structural complexity, 15 ms. Never
  for a target that is itself a matter of symmetry;
- `sites`: mean and spread over the sites of CrystalNN's coordination and local order, 0.3 s.
"""

_CHUNK = 20
"""Crystals that a process takes at once."""


@dataclass(frozen=True, eq=False)
class FeatureTable:
    """Features of N crystals.

    Attributes:
        features: N rows (index: ids) of numbers. NaN where matminer knows no radius of an element, and in the
            columns of a kind that failed.
        failed: what could not be computed: `id`, `kind`, `reason`.
    """

    features: pd.DataFrame
    failed: pd.DataFrame


def open_features(
    crystals: Crystals,
    folder: Path,
    kinds: Sequence[FeatureKind] = ("magpie", "density"),
    *,
    jobs: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> FeatureTable:
    """Open matminer's features of `crystals` in the cache `folder`; compute what is not in it.

    Of several processes one computes, the others wait; a killed one is gone on with.

    Args:
        crystals: N validated structures.
        folder: cache; each kind is a folder in it, named by the sha256 of all that decides its content.
        kinds: which features; they stand side by side in this order.
        jobs: processes, as in joblib: -1 for all cores; None for one, or for what an enclosing
            `joblib.parallel_config` says.
        progress: called with the crystals done and their number, of each kind that is computed.

    Raises:
        InputError: a kind that there is not, or a cache that cannot be written.
    """
    import pandas as pd

    for kind in kinds:
        if kind not in get_args(FeatureKind):
            raise InputError(f"there are no features of kind {kind!r}; {nearest_names(kind, get_args(FeatureKind))}")
    tables, failed = [], []
    for kind in kinds:
        if kind == "magpie":
            tables.append(magpie_of_crystals(crystals))
            continue
        values, header = _open_kind(crystals, kind, folder, jobs, progress)
        tables.append(pd.DataFrame(values, columns=header["labels"]))
        failed += [(crystals.ids[row], kind, reason) for row, reason in header["failed"]]
    features = pd.concat(tables, axis=1).set_index(pd.Index(crystals.ids, name="id"))
    return FeatureTable(features, pd.DataFrame(failed, columns=["id", "kind", "reason"], dtype=object))


def _open_kind(
    crystals: Crystals,
    kind: FeatureKind,
    folder: Path,
    jobs: int | None,
    progress: Callable[[int, int], None] | None,
) -> tuple[Float64[np.ndarray, "N F"], dict[str, Any]]:
    bounds = [*range(0, max(len(crystals), 1), _CHUNK), len(crystals)]
    done = 0

    def advance(piece: int) -> None:
        nonlocal done
        done += bounds[piece + 1] - bounds[piece]
        if progress is not None:
            progress(done, len(crystals))

    def compute(pieces: Sequence[int]) -> Iterator[dict[str, np.ndarray]]:
        calls = (delayed(_compute)(crystals.take(np.arange(bounds[k], bounds[k + 1])), kind) for k in pieces)
        for k, (values, failed) in zip(pieces, in_order(calls, jobs), strict=True):
            rows = np.array([bounds[k] + row for row, _ in failed], dtype=np.int64)
            yield {"values": values, "failed": rows, "reasons": np.array([reason for _, reason in failed], dtype=str)}

    def build(place: Path) -> dict[str, Any]:
        built_in_pieces(place, len(bounds) - 1, compute, advance=advance)
        return {"kind": kind, "labels": [label for part in _featurizers(kind) for label in part.feature_labels()]}

    code = code_digest([files("matcard.data").joinpath("structure_features.py")], ("matminer", "spglib", *PYMATGEN))
    decisive = [kind, crystals.content_digest(), code]
    place, noted = kept(folder, decisive, f"the {kind} features of {len(crystals)} crystals", build)
    arrays = map_arrays(place)
    failed = list(zip(arrays["failed"].tolist(), arrays["reasons"].tolist(), strict=True))
    return arrays["values"], {**noted, "failed": failed}


def _compute(crystals: Crystals, kind: FeatureKind) -> tuple[Float64[np.ndarray, "N F"], list[tuple[int, str]]]:
    """Compute one kind for a few crystals, and give the reasons for those that fail."""
    featurizers = _featurizers(kind)
    width = sum(len(part.feature_labels()) for part in featurizers)
    values = np.full((len(crystals), width), np.nan)
    failed = []
    for i in range(len(crystals)):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # what matminer and pymatgen guess where data of elements are missing
                structure = crystals.structure(i)
                values[i] = [value for part in featurizers for value in part.featurize(structure)]
        except Exception as error:  # matminer raises anything
            failed.append((i, f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"))
    return values, failed


@cache
def _featurizers(kind: FeatureKind) -> list[Any]:
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
