"""Options of data sets and splits; defaults and texts stand here once, for validation, help and docs."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field
from typing import Annotated, Literal, NamedTuple

from matcard.errors import InputError
from matcard.graphs.neighbors import GraphOptions
from matcard.options import AtLeastOne, NotNegative, Within, check_options

DataKind = Literal["crystals", "compositions", "images", "table"]
SplitKind = Literal[
    "formula", "chemical_system", "prototype", "element", "column", "random", "duplicates", "given", "matbench"
]
ImbalanceKind = Literal["none", "exp", "step", "ratio"]
Seen = Literal["train", "test", "keep"]


class About(NamedTuple):
    """What is known of a kind before a file of it is read."""

    unit: str
    """What samples are called where they are counted."""
    network: str
    """The model where none is named."""
    options: tuple[str, ...]
    """Those of `DataOptions` that play a part in it, of the ones that do not in every kind."""
    module: str
    """Module of `matcard.data` with all that is particular to it: its `KIND`, and `read`."""


_ROWS = ("id_column", "features")
ABOUT: dict[DataKind, About] = {
    "crystals": About("crystals", "cgcnn", ("id_column", "structure_column", "deuterium", "graph"), "crystals"),
    "compositions": About("compositions", "mlp", (*_ROWS, "composition_column", "composition_features"), "rows"),
    "images": About("images", "resnet", ("augment",), "images"),
    "table": About("rows", "mlp", _ROWS, "rows"),
}
MATBENCH_FOLDS = 5
"""Folds of every task of Matbench."""


@dataclass(frozen=True)
class SplitOptions:
    """What must not stand on both sides of a split, and how large the parts are.

    Raises:
        InputError: when a value is out of range or two of them contradict each other.
    """

    kind: SplitKind | None = None
    """What the samples of one group share; a group is never divided. Of crystals: `formula` (the default): the
    reduced formula; `chemical_system`: the set of elements; `prototype`: space group and occupied Wyckoff positions,
    found by spglib; `element`: every crystal that contains `element` is in the test part, the others are divided
    by formula. Of images and rows: `duplicates` (the default): all numbers are the same. Of compositions, where they
    are described by fractions, also `chemical_system`: the set of elements or components. Of all: `column`: the value
    in `column`; `random`: nothing, each sample is a group of its own; `given`: the default, and the data must come
    with a test part; `matbench`: the test part is one of the five official folds of Matbench, `fold` says which, and
    the rest is divided by the default. Where the data come with a test part (--data.test_source, a card, x_test of an
    npz) and no `folds` are asked for, that is the test part, and groups are what it is kept apart from the rest by."""

    column: str | None = None
    """Column of the source whose value makes the groups, where `kind` is `column`."""

    element: str | None = None
    """Symbol of the held-out element, where `kind` is `element`."""

    fractions: tuple[float, float, float] = (0.7, 0.15, 0.15)
    """Shares of the training, validation and test part. Where the test part is a fold or is held out by
    element, the first two divide the rest in their ratio."""

    folds: int | None = None
    """Number of folds of a cross-validation; `fold` says which one is the test part. A test part that came with the
    data is then divided among the folds like the rest."""

    fold: int | None = None
    """Which fold is the test part, from 0."""

    seen: Seen = "train"
    """Which side gives up what is in one group with samples of the other, where the data come with a test part:
    `train`: it is left out of the training and validation part; `test`: it is left out of the test part; `keep`:
    neither, it is counted."""

    def __post_init__(self) -> None:
        check_options(self, "--data.split.")
        for name in ("column", "element"):
            if (self.kind == name) != (getattr(self, name) is not None):
                raise InputError(f"--data.split.{name} goes with --data.split.kind {name}: give both or neither")
        if self.kind == "matbench":
            if self.folds not in (None, MATBENCH_FOLDS) or self.fold not in range(MATBENCH_FOLDS):
                raise InputError(
                    f"--data.split.kind matbench has {MATBENCH_FOLDS} folds: choose one with --data.split.fold, from 0 "
                    f"to {MATBENCH_FOLDS - 1}, and leave out --data.split.folds"
                )
            object.__setattr__(self, "folds", MATBENCH_FOLDS)
        shares: tuple[float, ...] = self.fractions
        if len(shares) != 3 or not all(share > 0 for share in shares) or not math.isclose(sum(shares), 1.0):
            raise InputError(
                f"split fractions {tuple(shares)}: expected three numbers above 0 that sum to 1, for training, "
                "validation and test, such as 0.7,0.15,0.15"
            )
        if (self.folds is None) != (self.fold is None):
            raise InputError("split folds and fold go together: give both or neither")
        if self.folds is not None and not (self.folds >= 2 and self.fold in range(self.folds)):
            raise InputError(
                f"split fold {self.fold} of {self.folds}: expected at least 2 folds and a fold from 0 to folds - 1"
            )
        if self.kind in ("element", "given") and self.folds is not None:
            raise InputError(f"--data.split.kind {self.kind} has one test part: leave out --data.split.folds")
        if self.seen == "test" and self.folds is not None:
            raise InputError(
                "--data.split.seen test is for a test part that comes with the data: leave it out, or leave out "
                "--data.split.folds"
            )


@dataclass(frozen=True)
class ImbalanceOptions:
    """How rare the classes of the training part are made; the validation and test part stay as they are.

    The training part becomes the largest one with exactly the wanted proportions.

    Raises:
        InputError: when a value is out of range.
    """

    kind: ImbalanceKind = "none"
    """Proportions of the classes, in the order of their names or numbers. `exp`: falling by the same ratio from class
    to class (the long tail of Cui et al. 2019); `step`: the second half of the classes is rare, all of it alike (Buda
    et al. 2018); `ratio`: the first class is common, all others are rare alike, so that it has the share
    factor / (factor + C - 1)."""

    factor: Annotated[float, Within(1)] = 100.0
    """Samples of the commonest class for each of the rarest."""

    samples: AtLeastOne | None = None
    """Samples of the training part at most, a random part of it, as learning curves need them."""

    def __post_init__(self) -> None:
        check_options(self, "--data.imbalance.")


@dataclass(frozen=True)
class SyntheticOptions:
    """What is set of data that scikit-learn's make_classification makes; the card knows the rest.

    Raises:
        InputError: when a value is out of range.
    """

    samples: AtLeastOne | None = None
    """Number of rows; the card's where not given."""

    majority: Annotated[float, Within(0, 1, "()")] | None = None
    """Share of the first class, the others having the rest in equal parts; the card's where not given."""

    def __post_init__(self) -> None:
        check_options(self, "--data.synthetic.")


@dataclass(frozen=True)
class DataOptions:
    """What is classified, and how it is read, turned into input of a network and divided.

    Raises:
        InputError: when a value is out of range or two of them contradict each other.
    """

    source: str = "perovskite_phases"
    """Name of a data set card, or a path. Crystals: a table of structures (parquet, csv, jsonl, json, json.gz), a
    folder of CIF or POSCAR files with id_prop.csv, or anything with structures that ASE reads (extxyz, db). Rows of
    numbers and compositions: parquet, csv or, with `kind`, jsonl. Images: npz, or a folder of the files of MNIST or
    CIFAR."""

    kind: DataKind | None = None
    """What a sample is; a card knows its own, and of a path it is found by its ending and its columns: no structures
    and no composition make it a table."""

    test_source: str | None = None
    """A second path, of the same kind and columns, that is the test part. No member of its groups is left among the
    others unless --data.split.seen says so."""

    target: str | None = None
    """Column to predict; a card knows its own."""

    threshold: float | None = None
    """For a target of numbers: class 1 is where it is at or above this."""

    bins: list[float] | None = None
    """For a target of numbers: edges between classes, ascending, as 1,2.5,4."""

    window: tuple[float, float] | None = None
    """For a target of numbers: class 1 is from the first to the second of these, both included, as 500,600."""

    auxiliary: list[str] | None = None
    """Columns of numbers that the network learns beside the classes, as a,b, where some may be missing; see `value`."""

    unlabelled: Literal["leave_out", "learn"] = "leave_out"
    """Of rows that have a number of `auxiliary` but no class: whether the network learns their numbers. Those in one
    group of the split with a sample of the validation or test part are left out in any case."""

    id_column: str | None = None
    """Column that holds the ids; found by its usual names where not given."""

    structure_column: str | None = None
    """Column that holds the structures; found by its usual names where not given."""

    deuterium: bool = False
    """Whether D in a CIF is read as hydrogen; else crystals with D are left out."""

    composition_column: str | None = None
    """Column that holds chemical formulas; found by its usual names where not given."""

    features: list[str] | None = None
    """Columns of numbers that describe a row, as a,b,c; where not given all but ids, target and groups. Of
    compositions: the proportions of the components."""

    descriptors: str = "none"
    """Fixed numbers of crystals that the network gets beside their graphs, or alone with the model `mlp`, several by
    comma: `chgnet` (384 numbers of a pretrained network; pip install -e ".[chgnet]"), `chgnet_random`, `magpie`,
    `volume`, `density`, `symmetry`, `sites`, `file:FEATURES.parquet` with a column `id`, what other packages bring, and
    at last `columns:a,b,c` of the source."""

    composition_features: Literal["fractions", "magpie"] = "fractions"
    """What is made of a formula: the fraction of each element, or matminer's Magpie features."""

    augment: Literal["none", "crop-flip"] = "none"
    """What is done to a training image: nothing; it is moved by up to 4 pixels at random, and half of them are
    mirrored (He et al. 2016)."""

    near_copies: Literal["keep", "drop"] = "keep"
    """What is done with samples of the training part that lie close to an earlier one of their class: nothing, or they
    are cut out. Distances are those of the samplers; see `trainer.sampler`."""

    near_copies_radius: NotNegative = 0.1
    """How far a near copy is at most, in units of the median distance between samples of different formulas."""

    max_left_out: Annotated[float, Within(0, 1, "[]")] = 0.05
    """Largest share of rows that cannot be used; more stops the run. Rows without a target do not count."""

    jobs: int = -1
    """Processes that parse structures and build graphs; -1 for all cores."""

    split: SplitOptions = field(default_factory=SplitOptions)
    """Training, validation and test parts."""

    imbalance: ImbalanceOptions = field(default_factory=ImbalanceOptions)
    """How rare the classes of the training part are made, and how many samples it keeps."""

    synthetic: SyntheticOptions = field(default_factory=SyntheticOptions)
    """What is set of synthetic rows."""

    graph: GraphOptions = field(default_factory=GraphOptions)
    """Which neighbours become edges."""

    def __post_init__(self) -> None:
        check_options(self, "--data.")
        for name in ("source", "test_source"):  # a shell leaves ~ as it is after an equals sign
            if getattr(self, name) is not None:
                object.__setattr__(self, name, os.path.expanduser(getattr(self, name)))  # noqa: PTH111
        if self.test_source is not None and (self.split.folds is not None or self.split.kind == "element"):
            raise InputError(
                "--data.test_source is the test part: leave out --data.split.folds, and --data.split.kind element or "
                "matbench"
            )
        ways = [f"--data.{name}" for name in ("threshold", "bins", "window") if getattr(self, name) is not None]
        if len(ways) > 1:
            raise InputError(f"{' and '.join(ways)} are both given: a target has one of them")
        if self.window is not None and not self.window[0] < self.window[1]:
            raise InputError(f"--data.window {self.window}: expected two numbers, the lower one first, such as 500,600")
        if self.jobs == 0:
            raise InputError("--data.jobs is 0: expected a number of processes, or -1 for all cores")
