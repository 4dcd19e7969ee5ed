"""Options of data sets and splits; defaults and texts stand here once, for validation, help and docs."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal, get_args

from matcard.crystals.options import GraphOptions
from matcard.errors import InputError, nearest_names

SplitKind = Literal["formula", "chemical_system", "prototype", "element", "column", "random"]


@dataclass(frozen=True)
class SplitOptions:
    """What must not stand on both sides of a split, and how large the parts are.

    Raises:
        InputError: when a value is out of range or two of them contradict each other.
    """

    kind: SplitKind = "formula"
    """What the crystals of one group share; a group is never divided. `formula`: the reduced formula;
    `chemical_system`: the set of elements; `prototype`: space group and occupied Wyckoff positions, found by
    spglib; `element`: every crystal that contains `element` is in the test part, the others are divided by
    formula; `column`: the value in `column`; `random`: nothing, each crystal is a group of its own."""

    column: str | None = None
    """Column of the source whose value makes the groups, where `kind` is `column`."""

    element: str | None = None
    """Symbol of the held-out element, where `kind` is `element`."""

    fractions: tuple[float, float, float] = (0.7, 0.15, 0.15)
    """Shares of the training, validation and test part. Where the test part is a fold or is held out by
    element, the first two divide the rest in their ratio."""

    folds: int | None = None
    """Number of folds of a cross-validation; `fold` says which one is the test part."""

    fold: int | None = None
    """Which fold is the test part, from 0."""

    def __post_init__(self) -> None:
        if self.kind not in get_args(SplitKind):
            raise InputError(f"--data.split.kind {self.kind!r}: {nearest_names(self.kind, get_args(SplitKind))}")
        for name in ("column", "element"):
            if (self.kind == name) != (getattr(self, name) is not None):
                raise InputError(f"--data.split.{name} goes with --data.split.kind {name}: give both or neither")
        check_shares(self.fractions, self.folds, self.fold)
        if self.kind == "element" and self.folds is not None:
            raise InputError("--data.split.kind element holds out one test part: leave out --data.split.folds")


def check_shares(fractions: tuple[float, ...], folds: int | None, fold: int | None) -> None:
    """Check the shares of the three parts and the choice of a fold.

    Raises:
        InputError: shares that are not positive or do not sum to 1; a fold that is not among the folds.
    """
    if len(fractions) != 3 or not all(share > 0 for share in fractions) or not math.isclose(sum(fractions), 1.0):
        raise InputError(
            f"split fractions {tuple(fractions)}: expected three numbers above 0 that sum to 1, for "
            "training, validation and test, such as 0.7,0.15,0.15"
        )
    if (folds is None) != (fold is None):
        raise InputError("split folds and fold go together: give both or neither")
    if folds is not None and fold is not None and not (folds >= 2 and 0 <= fold < folds):
        raise InputError(f"split fold {fold} of {folds}: expected at least 2 folds and a fold from 0 to folds - 1")


@dataclass(frozen=True)
class DataOptions:
    """What is classified, and how it is read, drawn as graphs and divided.

    Raises:
        InputError: when a value is out of range or two of them contradict each other.
    """

    source: str = "perovskite_phases"
    """Name of a data set card, or a path: a table of structures (parquet, csv, jsonl, json, json.gz), a folder of CIF
    or POSCAR files with id_prop.csv, or anything with structures that ASE reads (extxyz, db)."""

    target: str | None = None
    """Column to predict; a card knows its own."""

    threshold: float | None = None
    """For a target of numbers: class 1 is where it is at or above this."""

    bins: list[float] | None = None
    """For a target of numbers: edges between classes, ascending, as 1,2.5,4."""

    id_column: str | None = None
    """Column that holds the ids; found by its usual names where not given."""

    structure_column: str | None = None
    """Column that holds the structures; found by its usual names where not given."""

    max_left_out: float = 0.05
    """Largest share of rows whose structure cannot be used; more stops the run. Rows without a target do not count."""

    jobs: int = -1
    """Processes that parse structures and build graphs; -1 for all cores."""

    split: SplitOptions = field(default_factory=SplitOptions)
    """Training, validation and test parts."""

    graph: GraphOptions = field(default_factory=GraphOptions)
    """Which neighbours become edges."""

    def __post_init__(self) -> None:
        if self.threshold is not None and self.bins is not None:
            raise InputError("--data.threshold and --data.bins are both given: a target has one or the other")
        if not 0 <= self.max_left_out <= 1:
            raise InputError(f"--data.max_left_out is {self.max_left_out}: expected a share from 0 to 1")
        if self.jobs == 0:
            raise InputError("--data.jobs is 0: expected a number of processes, or -1 for all cores")
