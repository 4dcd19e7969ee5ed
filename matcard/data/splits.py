"""Training, validation and test parts: stratified by class, no group in two of them, saved by id."""

from __future__ import annotations

import json
import warnings
from collections import Counter
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.model_selection import KFold, StratifiedKFold

from matcard.crystals.crystals import Crystals
from matcard.data.groups import contains_element, deal, default_groups, group_keys
from matcard.data.options import MATBENCH_FOLDS
from matcard.errors import InputError, MatcardWarning, listed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from jaxtyping import Bool, Int, Int64, Shaped

    from matcard.data.options import Seen, SplitOptions
    from matcard.data.samples import Samples

PARTS = ("train", "val", "test")
_ABOUT = ("kind", "seed", "fold", "folds", "groups", "seen")
_MATBENCH_SEED = 18012019
"""Of the folds of every task of Matbench (A. Dunn et al., npj Comput. Mater. 6, 138, 2020)."""


@dataclass(frozen=True, eq=False)
class Split:
    """Positions of the three parts of N samples, ascending.

    Attributes:
        train: positions of the training part.
        val: positions of the validation part.
        test: positions of the test part.
        kind: how the test part was chosen, as in `SplitOptions`; a column or element follows a colon.
        seed: what it was drawn with.
        fold: which fold the test part is, or None.
        folds: how many folds there are, or None.
        cut: positions of samples that are in no part: taken from the training part to make a class rare, or since
            the test part that came with the data holds some of their group, or the rest does.
        groups: kind of the groups that were not divided, as `group_keys` takes it; empty where groups were given as
            such.
        seen: samples that are in one group with samples of the other side of a test part that came with the data:
            those that were cut, or those of the test part where both sides were kept.
    """

    train: Int64[np.ndarray, " a"]
    val: Int64[np.ndarray, " b"]
    test: Int64[np.ndarray, " c"]
    kind: str
    seed: int
    fold: int | None = None
    folds: int | None = None
    cut: Int64[np.ndarray, " d"] = field(default_factory=lambda: np.empty(0, np.int64))
    groups: str = ""
    seen: int = 0

    def without(self, part: str, cut: Int64[np.ndarray, " k"]) -> Split:
        """Give the split whose `part` lacks the positions `cut`."""
        parts: dict[str, Any] = {part: np.setdiff1d(getattr(self, part), cut), "cut": np.union1d(self.cut, cut)}
        return replace(self, **parts)

    def to_json(self, ids: Sequence[str] | Shaped[np.ndarray, " N"]) -> str:
        """Write the split with the ids of its samples in place of their positions."""
        names = np.array([str(name) for name in ids], dtype=object)
        parts = {part: names[getattr(self, part)].tolist() for part in (*PARTS, "cut")}
        about = {name: getattr(self, name) for name in _ABOUT}
        return json.dumps({**about, **parts}, indent=1)

    @staticmethod
    def from_json(text: str, ids: Sequence[str] | Shaped[np.ndarray, " N"], path: str | Path = "split.json") -> Split:
        """Read a split that `to_json` wrote to `path`, for the same samples in any order.

        Raises:
            InputError: not such a JSON, an id twice in it, or other ids than `ids`; the path is named.
        """
        try:
            saved = json.loads(text)
            parts = [list(map(str, saved[part])) for part in (*PARTS, "cut")]
            about = {name: saved[name] for name in _ABOUT}
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path} is damaged ({error!r}): take the file as the run wrote it") from error
        position = {str(name): i for i, name in enumerate(ids)}
        listed = Counter(chain(*parts))
        twice = [name for name, times in listed.items() if times > 1]
        if twice:
            raise InputError(f"{path}: the id {twice[0]!r} is in it twice; take the file as the run wrote it")
        for names, where in (
            (listed.keys() - position.keys(), "in the split but not in the data"),
            (position.keys() - listed.keys(), "in the data but not in the split"),
        ):
            if names:
                raise InputError(
                    f"{path}: {len(names)} ids are {where}, such as {min(names)!r}; the source has "
                    "changed since the split was made: use the same source, or start a new run"
                )
        train, val, test, cut = (np.array(sorted(position[name] for name in part), dtype=np.int64) for part in parts)
        return Split(train, val, test, cut=cut, **about)


def split_samples(samples: Samples, options: SplitOptions, *, seed: int = 0) -> Split:
    """Split the N samples that can be used as the options say.

    Args:
        samples: all rows of a source, with classes; the parts are positions among those that can be used.
        options: kind of groups, shares, folds.
        seed: another seed gives another split.

    Raises:
        InputError: too few groups, an unknown column, a kind of groups that such samples do not have, an element that
            is in no crystal or in all of them, no test part where one was to come with the data.
    """
    everything, samples = samples, samples.take(samples.used)
    codes, kind = samples.codes, options.kind
    held = None if options.folds is not None else samples.test
    if held is None and (kind == "given" or options.seen == "test"):
        named = "kind given" if kind == "given" else "seen test"
        raise InputError(
            f"--data.split.{named} is for a test part that comes with the data, and none does: leave it out, or name "
            "one with --data.test_source"
        )
    by = grouped_by(samples, options)
    how: dict[str, Any] = {"fractions": options.fractions, "seed": seed, "class_names": samples.class_names}
    if kind == "element":
        if held is not None:
            raise InputError("--data.split.kind element: these data come with a test part already; leave it out")
        holding = _with_element(samples, str(options.element))
        split = make_split(codes, group_keys(samples, by), held=holding, kind=f"element:{options.element}", **how)
    elif kind == "matbench":
        holding = _official(everything, options.fold or 0)[everything.used]
        split = make_split(codes, group_keys(samples, by), held=holding, kind="matbench", **how)
        split = replace(split, fold=options.fold, folds=options.folds)
    elif held is not None:
        split = _kept_apart(codes, group_keys(samples, by), held, options.seen, how)
    else:
        groups = group_keys(samples, by)
        split = make_split(codes, groups, kind=by, fold=options.fold, folds=options.folds, **how)
    return replace(split, groups=by)


def grouped_by(samples: Samples, options: SplitOptions) -> str:
    """Name the kind of groups that a split keeps in one part, as `group_keys` takes it.

    Args:
        samples: of a source; what they are decides where the options name no kind.
        options: of the split.
    """
    if options.kind == "column":
        return f"column:{options.column}"
    return default_groups(samples) if options.kind in (None, "given", "matbench", "element") else str(options.kind)


def _official(samples: Samples, fold: int) -> Bool[np.ndarray, " N"]:
    """Say which samples are the test part of a fold of Matbench, as its makers define the folds: of all rows.

    They are stratified where the task is to classify, and not where it is to predict a number.
    """
    labels, unknown = samples.labels, np.flatnonzero(samples.codes < 0)
    classified = labels is not None and not labels.edges
    if classified and len(unknown):
        raise InputError(
            "--data.split.kind matbench: the official folds are those of the classes of all rows, and "
            f"{len(unknown)} have none; the first is {samples.where[unknown[0]]}"
        )
    folds = (StratifiedKFold if classified else KFold)(MATBENCH_FOLDS, shuffle=True, random_state=_MATBENCH_SEED)
    return np.isin(np.arange(len(samples)), list(folds.split(samples.codes, samples.codes))[fold][1])


def _with_element(samples: Samples, element: str) -> Bool[np.ndarray, " N"]:
    if not isinstance(samples.inputs, Crystals):
        raise InputError("--data.split.kind element is for crystals; choose duplicates, column or random")
    held = contains_element(samples.inputs, element)
    if held.all() or not held.any():
        raise InputError(
            f"--data.split.element {element}: it is in {'every' if held.all() else 'no'} crystal of the source; choose "
            "one that some crystals contain and others do not"
        )
    return held


def _kept_apart(
    codes: Int[np.ndarray, " N"],
    groups: Shaped[np.ndarray, " N"],
    held: Bool[np.ndarray, " N"],
    seen: Seen,
    how: dict[str, Any],
) -> Split:
    """Take the test part that came with the data and divide the rest; of groups on both sides one side is cut."""
    if not held.any():
        raise InputError("none of the samples of the test part can be used; look at what was left out, and why")
    both = np.isin(groups, groups[held]) & np.isin(groups, groups[~held])
    if seen == "train" and (held | both).all():
        raise InputError(
            "nothing is left to train on: every sample is in one group with a sample of the test part. Choose a finer "
            "--data.split.kind, or --data.split.seen test or keep"
        )
    cut = both & ~held if seen == "train" else None
    split = make_split(codes, groups, held=held, cut=cut, kind="given", **how)
    if seen == "test":
        split = split.without("test", np.flatnonzero(both & held))
    return replace(split, seen=int(both[~held if seen == "train" else held].sum()))


def make_split(
    codes: Int[np.ndarray, " N"],
    groups: Shaped[np.ndarray, " N"],
    *,
    kind: str = "groups",
    fractions: tuple[float, float, float] = (0.7, 0.15, 0.15),
    seed: int = 0,
    fold: int | None = None,
    folds: int | None = None,
    held: Bool[np.ndarray, " N"] | None = None,
    cut: Bool[np.ndarray, " N"] | None = None,
    class_names: Sequence[str] | None = None,
) -> Split:
    """Divide N samples so that no group is in two parts and each part has its share of each class.

    With `folds`, the test part is one of that many folds, which depend on `seed` and not on `fold`; with `held`, it is
    what is given. Training and validation then divide the others in the ratio of the first two fractions. A class that
    is missing in a part is told by a `MatcardWarning`; where it has a group for every part or fold, that happens only
    if groups of several classes leave no other way.

    Args:
        codes: (N,) class of each sample.
        groups: (N,) what the sample must not be parted from; any values that can be compared.
        kind: what the samples of a group share, to be kept in the split.
        fractions: shares of the training, validation and test part.
        seed: another seed gives another split.
        fold: which fold is the test part.
        folds: number of folds, or None for one split by `fractions`.
        held: the test part, whatever its groups; in place of folds.
        cut: what is left out of all parts, where the test part is `held`.
        class_names: how the classes are called in warnings; their codes where not given.

    Raises:
        InputError: fewer groups than parts.
    """
    rng = np.random.default_rng(seed)
    if folds is not None:
        held = deal(codes, groups, np.full(folds, 1.0 / folds), rng) == fold
    if held is None:
        part = deal(codes, groups, np.array(fractions), rng)
    else:
        part = np.where(held, 2, -1)
        rest = np.flatnonzero(~held if cut is None else ~(held | cut))
        part[rest] = deal(codes[rest], groups[rest], np.array(fractions[:2]) / sum(fractions[:2]), rng)
    train, val, test, left = (np.flatnonzero(part == k) for k in (0, 1, 2, -1))
    split = Split(train, val, test, kind, seed, fold, folds, left)
    tell_missing(split, codes, class_names)
    return split


def tell_missing(split: Split, codes: Int[np.ndarray, " N"], class_names: Sequence[str] | None = None) -> None:
    """Warn of each part that holds samples and none of some class, by a `MatcardWarning`.

    Args:
        split: positions among the samples.
        codes: (N,) class of each sample.
        class_names: how the classes are called; their codes where not given.
    """
    for name in (name for name in PARTS if len(getattr(split, name))):
        missing = np.setdiff1d(codes, codes[getattr(split, name)]).tolist()
        if missing:
            named = [str(code) if class_names is None else class_names[code] for code in missing]
            warnings.warn(
                f"the {name} part has no sample of class {listed(named)}: too few "
                "groups hold it; join classes, or choose finer groups (--data.split.kind)",
                MatcardWarning,
                stacklevel=3,
            )


def inner_split(
    codes: Int[np.ndarray, " N"],
    groups: Shaped[np.ndarray, " N"],
    share: float,
    *,
    kind: str = "groups",
    seed: int = 0,
    class_names: Sequence[str] | None = None,
) -> Split:
    """Divide N samples into a training part and a validation part of `share`, as `make_split` does; none are tested.

    Raises:
        InputError: a share that is not between 0 and 1, or a single group.
    """
    if not 0 < share < 1:
        raise InputError(f"the share of the validation part is {share}: expected a number between 0 and 1")
    of_all, none = ((1 - share) / 2, share / 2, 0.5), np.zeros(len(codes), dtype=bool)  # the test part's half is void
    split = make_split(codes, groups, kind=kind, fractions=of_all, seed=seed, held=none, class_names=class_names)
    return replace(split, groups=kind)


def seen_note(split: Split, seen: Seen) -> list[str]:
    """Say how much of a test part that came with the data stands among the other samples, and what became of it."""
    shared = f"their group ({split.groups})"
    notes = {
        "train": f"{split.seen} samples are left out of training and validation: the test part holds {shared}",
        "test": f"{split.seen} samples are left out of the test part: training and validation hold {shared}",
        "keep": f"{split.seen} of {len(split.test)} test samples have {shared} in another part, too; --data.split.seen "
        "train or test leaves them out of one",
    }
    return [notes[seen]] if split.seen else []
