"""From options to samples with classes, and to a training set in three parts: the data half of the straight line."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from matcard.batch import Standard
from matcard.data.card import card_names, card_of
from matcard.data.crystals import CrystalKind
from matcard.data.dataset import TrainingSet, Unlabelled, standardisation
from matcard.data.draws import Distinct, points_and_unit
from matcard.data.groups import contains_element, group_keys
from matcard.data.imbalance import make_imbalanced
from matcard.data.kinds import kind_of, tell_unused
from matcard.data.labels import make_labels, value_columns
from matcard.data.options import DataOptions
from matcard.data.samples import module_of
from matcard.data.splits import Split, seen_note, split_samples
from matcard.descriptors.describe import check_columns, find_descriptors, separating_columns
from matcard.errors import InputError, MatcardWarning, listed, nearest_names
from matcard.files import source_exists
from matcard.invariants import SHARES_LIMIT, near_copies
from matcard.table_files import require_column

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch.utils.data import Dataset

    from matcard.data.card import Card
    from matcard.data.samples import Kind, Progress, Samples

_WAYS = ("threshold", "bins", "window")
"""Options that make classes of numbers."""
_FEW = 10
"""Training samples of a class below which a warning is due, where near copies were cut out of it."""


def read(options: DataOptions, like: Kind | None = None, progress: Progress | None = None) -> Samples:
    """Read every row of a card or a path, in order; one that cannot be used has a fault.

    Args:
        options: what is read.
        like: what a run was trained on, so that the same columns are read in the same way.
        progress: called with the rows parsed and their number, an estimate or None, where crystals are not yet parsed.

    Raises:
        InputError: no such source or column, or a file that cannot be read.
    """
    source = options.source
    card = card_of(source)
    if card is None and not source_exists(source):
        raise InputError(
            f"--data.source {source}: neither a file or folder nor the name of a data set; "
            f"{nearest_names(source, card_names())}"
        )
    tell_unused(options, card)
    kind = kind_of(options)
    if card is not None and kind != card.kind:
        raise InputError(f"--data.kind {kind}: the data set {card.name} holds {card.kind}; leave the option out")
    samples: Samples = module_of(kind).read(_with_card(options, card), card, like, progress)
    if not samples.sound.any():
        raise InputError(
            f"none of the {len(samples)} rows of {source} can be used. The first is {samples.where[0]}: "
            f"{samples.faults[0]}"
        )
    return samples


def _with_card(options: DataOptions, card: Card | None) -> DataOptions:
    """Fill in what a card says of a source and the options do not."""
    if card is None:
        return options
    said: dict[str, Any] = {"features": options.features or list(card.feature_columns) or None}
    for name in ("target", "id_column", "composition_column"):
        said[name] = getattr(options, name) or getattr(card, name)
    if options.target is None and all(getattr(options, way) is None for way in _WAYS):
        said |= {"threshold": card.threshold, "bins": list(card.bins) if card.bins else None, "window": card.window}
    return replace(options, **said)


def read_labelled(options: DataOptions, progress: Progress | None = None) -> Samples:
    """Read a source and give each row its class, by the options or the card.

    Raises:
        InputError: as `read`; a target that is not there, or that gives fewer than two classes.
    """
    said = _with_card(options, card_of(options.source))
    check_columns(find_descriptors(options.descriptors), {said.target})
    samples = read(options, progress=progress)
    target = said.target or samples.kind.target
    if target is None:
        raise InputError(
            f"--data.target is not given: name the column of {options.source} to predict, one of "
            f"{listed(samples.columns)}"
        )
    require_column(target, map(str, samples.columns), options.source, "target")
    try:
        sound = samples.sound
        ways: dict[str, Any] = {name: getattr(said, name) for name in _WAYS}
        labels = make_labels(samples.columns[target][sound], target=target, where=samples.where[sound], **ways)
    except InputError as error:
        bad = np.flatnonzero(~samples.sound)
        if not len(bad):
            raise
        # The class that is missing may be among them.
        raise InputError(
            f"{error}. {len(bad)} rows of {options.source} cannot be used and do not count; the first is "
            f"{samples.where[bad[0]]}: {samples.faults[bad[0]]}"
        ) from error
    return samples.with_labels(labels)


def divide(
    samples: Samples,
    options: DataOptions,
    *,
    seed: int,
    saved_split: Split | Path | None = None,
    graphs: bool = True,
    progress: Callable[[int, int], None] | None = None,
    split: Split | None = None,
    inputs: tuple[Samples, Dataset[Any]] | None = None,
) -> TrainingSet:
    """Divide the rows that can be used, or as a saved run did, and build or open the graphs of crystals.

    Args:
        samples: with classes.
        options: how they are divided, and what is made of them.
        seed: of the division.
        saved_split: one, or the file of one that an earlier run wrote, in place of a division.
        graphs: of crystals are needed; without them a crystal is its descriptors, where it has some.
        progress: called with the crystals done and their number where graphs are built.
        split: made otherwise than the options say; imbalance and near copies are still theirs.
        inputs: of these samples, as `open_inputs` gives them, which is done here otherwise.

    Raises:
        InputError: a split that cannot be made, or a saved one of other data.
    """
    if isinstance(saved_split, Split):
        split = saved_split
    elif saved_split is not None:
        split = Split.from_json(saved_split.read_text(encoding="utf-8"), samples.ids[samples.used], saved_split)
    else:
        split = split or split_samples(samples, options.split, seed=seed)
        split = make_imbalanced(split, samples.codes[samples.used], options.imbalance, seed=seed)
    used, dataset = inputs or open_inputs(samples, options, graphs=graphs, progress=progress)
    if options.near_copies == "drop" and saved_split is None:
        split = _without_near_copies(TrainingSet(used, split, dataset, {}), options.near_copies_radius)
    divided = training_set(used, split, dataset, options)
    return _with_unlabelled(divided, samples, options, progress) if options.unlabelled == "learn" else divided


def open_inputs(
    samples: Samples,
    options: DataOptions,
    *,
    graphs: bool = True,
    kept: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Samples, Dataset[Any]]:
    """Give the rows that can be used, and the data set that is made of their inputs, the same for every division.

    Args:
        samples: with classes.
        options: how many processes build graphs.
        graphs: of crystals are needed; without them a crystal is its descriptors, where it has some.
        kept: whether graphs are kept in the cache.
        progress: called with the crystals done and their number where graphs are built.

    Raises:
        InputError: samples that cannot be taken.
    """
    used = samples.take(samples.used)
    if isinstance(used.kind, CrystalKind) and used.kind.descriptors and not graphs:
        used = replace(used, kind=replace(used.kind, graph=None))
    return used, used.kind.dataset(used.inputs, used.codes, kept=kept, jobs=options.jobs, progress=progress)


def training_set(samples: Samples, split: Split, dataset: Dataset[Any], options: DataOptions) -> TrainingSet:
    """Give samples in their parts, with what a network must know of them.

    Args:
        samples: with a class each, none at fault.
        split: their parts.
        dataset: made of their inputs by their kind.
        options: what is made of them.

    Raises:
        InputError: an auxiliary column that cannot be predicted.
    """
    kind = samples.kind
    arguments = kind.model_arguments
    if "input_shape" in arguments:
        mean, std = standardisation(samples.inputs, split.train)
        arguments = {**arguments, "mean": mean, "std": std}
    if isinstance(kind, CrystalKind) and (described := getattr(dataset, "descriptors", None)) is not None:
        train = described.numpy()[split.train]
        arguments = {**arguments, "descriptors": Standard.of(train)}
        if telling := separating_columns(kind.descriptors, train, samples.codes[split.train]):
            warnings.warn(
                f"--data.descriptors: {listed(telling)} alone tells a class from the others (ROC-AUC above .99); is it "
                "made of the target?",
                MatcardWarning,
                stacklevel=2,
            )
    notes = (*kind.notes(dataset), *seen_note(split, options.split.seen))
    assert samples.labels is not None
    values = value_columns(samples.columns, samples.labels, options.auxiliary or (), samples.where)
    return TrainingSet(samples, split, dataset, arguments, notes, options.augment, values)


def _with_unlabelled(
    data: TrainingSet, samples: Samples, options: DataOptions, progress: Callable[[int, int], None] | None
) -> TrainingSet:
    """Add the rows without a class that have numbers, but those in one group with what is validated or tested on."""
    assert samples.labels is not None
    none = samples.sound & (samples.codes < 0) & (samples.texts == "")
    if samples.test is not None:
        none &= ~samples.test
    if options.split.element is not None:
        none &= ~contains_element(samples.inputs, options.split.element)
    at = np.flatnonzero(none)
    values = value_columns(samples.columns.iloc[at], samples.labels, options.auxiliary or (), samples.where[at])
    told = np.zeros(0, bool) if values is None else np.isfinite(values.numbers).any(axis=1)
    if values is None or not told.any():
        raise InputError(
            "--data.unlabelled learn: no row of the source has a number of --data.auxiliary and no class; leave it out"
        )
    at, numbers = at[told], values.numbers[told]
    groups = group_keys(samples.take(np.flatnonzero(samples.sound)), data.split.groups)
    keys = np.empty(len(samples), dtype=groups.dtype)
    keys[samples.sound] = groups
    held = np.concatenate([data.split.val, data.split.test])
    chosen = np.flatnonzero(~np.isin(keys[at], keys[samples.used][held]))
    note = f"{len(chosen)} of {len(at)} {data.unit} without a class are trained on by their numbers all the same"
    others = samples.take(at)
    dataset = data.samples.kind.dataset(others.inputs, others.codes, kept=True, jobs=options.jobs, progress=progress)
    return replace(data, notes=(*data.notes, note), unlabelled=Unlabelled(at, others, dataset, numbers, chosen))


def _without_near_copies(data: TrainingSet, radius: float) -> Split:
    """Cut samples out of the training part that are near copies of an earlier one of their class.

    Classes of which few samples are left are told, and where other classes than before are the minority.

    Raises:
        InputError: samples without numbers.
    """
    points, length = data.distances
    if points is None:
        raise InputError(f"--data.near_copies drop: {data.unit} have no numbers to take distances of; leave it out")
    train = data.split.train
    kept = near_copies(points, radius * length, groups=torch.from_numpy(data.codes[train])).numpy() < 0
    before, after = (np.bincount(data.codes[part], minlength=len(data.class_names)) for part in (train, train[kept]))
    cut = "--data.near_copies drop"
    if len(few := np.flatnonzero((after < _FEW) & (after < before))):
        told = listed(f"{after[label]} of {data.class_names[label]!r}" for label in few)
        text = f"{cut} leaves {told}: a smaller --data.near_copies_radius cuts fewer {data.unit}"
        warnings.warn(text, MatcardWarning, stacklevel=2)
    was, now = (
        listed(
            repr(name)
            for name, count in zip(data.class_names, counts, strict=True)
            if count * len(counts) < counts.sum()
        )
        for counts in (before, after)
    )
    if was != now:
        text = f"{cut} makes {now or 'no class'} the minority, not {was or 'none'}: its metrics are of other classes"
        warnings.warn(text, MatcardWarning, stacklevel=2)
    return data.split.without("train", train[~kept])


def count_source(source: str) -> Distinct:
    """Count the distinct samples of each class in all of a data set, by its default target; no graph is built.

    Raises:
        InputError: as `read_labelled`; samples without numbers, or more than 100,000.
    """
    samples = read_labelled(DataOptions(source=source))
    used = samples.take(samples.used)
    if len(used.ids) > SHARES_LIMIT:
        raise InputError(
            f"--distinct compares all pairs, of {SHARES_LIMIT:,} samples at most, and {source} has {len(used.ids):,} "
            f"{used.kind.unit}: leave it out"
        )
    points, length = points_and_unit(used.kind, used)
    if points is None:
        raise InputError(f"{source}: {used.kind.unit} have no numbers to take distances of; leave --distinct out")
    return Distinct.count(points, used.codes, used.class_names, length=length)


def measure_counts(card: Card) -> dict[str, int]:
    """Count the rows of each class in the files of a card (downloaded if need be), and keep the counts beside them.

    Rows without a value of the target do not count; rows whose structure cannot be used do. Counts that differ from
    those that the card states raise a `MatcardWarning`.

    Raises:
        InputError: files that cannot be had or read.
    """
    options = _with_card(DataOptions(source=card.name), card)
    values = module_of(card.kind).read(options, card, None, None).columns[card.target]
    ways: dict[str, Any] = {name: getattr(options, name) for name in _WAYS}
    labels = make_labels(values, target=card.target, **ways)
    counted = np.bincount(labels.codes[labels.codes >= 0], minlength=len(labels.class_names)).tolist()
    counts = dict(zip(labels.class_names, counted, strict=True))
    if card.class_counts is not None and counts != card.class_counts:
        warnings.warn(
            f"{card.name}: the files hold {counts}, the card states {card.class_counts}", MatcardWarning, stacklevel=2
        )
    if not card.made_by_code:
        card.keep_counts(counts)
    return counts
