"""matminer's features of whole structures as a table, for rivals that are no networks; computed once."""

from __future__ import annotations

import hashlib
import json
import warnings
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from matcard.crystals.array_writer import ArrayWriter
from matcard.crystals.arrays import FORMAT, Layout, read_arrays
from matcard.crystals.built_once import built_once
from matcard.crystals.code_digest import PYMATGEN, code_digest
from matcard.crystals.parallel import in_order
from matcard.data.composition_features import magpie_of_crystals
from matcard.errors import InputError, nearest_names

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
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
    key = _key(crystals, kind)
    target = folder / key

    def read() -> tuple[Float64[np.ndarray, "N F"], dict[str, Any]]:
        arrays, header = read_arrays(target, _layout(0), key)
        return arrays["values"], header

    def build() -> None:
        from joblib import delayed

        labels = [label for part in _featurizers(kind) for label in part.feature_labels()]
        writer = ArrayWriter(target.with_name(f"{key}.partial"), _layout(len(labels)))
        failed = writer.note.get("failed", [])
        start = writer.rows["values"]
        bounds = [*range(start, len(crystals), _CHUNK), len(crystals)]
        calls = (delayed(_compute)(crystals.take(np.arange(*ends)), kind) for ends in pairwise(bounds))
        for values, reasons in in_order(calls, jobs):
            failed += [(writer.rows["values"] + row, reason) for row, reason in reasons]
            writer.append({"values": values}, {"failed": failed})
            if progress is not None:
                progress(writer.rows["values"], len(crystals))
        writer.finish(target, {"key": key, "kind": kind, "labels": labels, "failed": failed})

    return built_once(target, f"the {kind} features of {len(crystals)} crystals", read, build)


def _layout(width: int) -> Layout:
    return Layout({"values": np.empty((0, width))}, offsets={})


def _key(crystals: Crystals, kind: FeatureKind) -> str:
    decisive = [
        FORMAT,
        kind,
        crystals.content_digest(),
        code_digest([files("matcard.data").joinpath("structure_features.py")], ("matminer", "spglib", *PYMATGEN)),
    ]
    return hashlib.sha256(json.dumps(decisive).encode()).hexdigest()


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
