"""The data of a study's trials: read once in a process, divided anew for each fold or seed, the test part held out."""

from __future__ import annotations

import json
import uuid
from collections import OrderedDict
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from matcard.data.groups import group_keys
from matcard.data.imbalance import make_imbalanced
from matcard.data.read import divide, read_labelled
from matcard.data.splits import Split, make_split, split_samples
from matcard.training.batches import DataModule

if TYPE_CHECKING:
    from collections.abc import Callable

    from jaxtyping import Int, Shaped

    from matcard.data.dataset import TrainingSet
    from matcard.data.samples import Samples
    from matcard.training.options import Config

_MOST_KEPT = 24
"""Tables and divisions kept at once; the least recently used goes."""
_kept: OrderedDict[str, Any] = OrderedDict()
"""Those of this process, whichever trials it runs."""


class TrialData:
    """Gives the batches of a training; what trials have in common is read once in a process.

    Args:
        seed: of the study: decides the test part, whatever the seed of a training.
        folds: number of folds of the rest, or None.
    """

    def __init__(self, seed: int, folds: int | None = None) -> None:
        self._seed = seed
        self._folds = folds
        self._name = uuid.uuid4().hex

    def batches(self, config: Config, repeat: int = 0) -> DataModule:
        """Give the batches for a fold or seed of a configuration.

        Raises:
            InputError: data that cannot be read or divided so.
        """
        data = self._once(
            f"division {repeat} {config.model.sees_graphs}", config, lambda: self._divided(config, repeat)
        )
        return DataModule(data, config)

    def samples(self, config: Config) -> Samples:
        """Give the samples of a configuration."""
        samples: Samples = self._once("samples", config, lambda: read_labelled(config.data))
        return samples

    def _divided(self, config: Config, repeat: int) -> TrainingSet:
        samples, options, graphs = self.samples(config), config.data, config.model.sees_graphs
        if repeat == 0 and self._folds is None:
            return divide(samples, options, seed=self._seed, graphs=graphs)
        used = samples.take(samples.used)
        split = split_samples(samples, options.split, seed=self._seed)
        groups = self._once("groups", config, lambda: group_keys(used, split.groups))
        if self._folds is None:
            split = another_division(split, used.codes, groups, options.split.fractions, self._seed + repeat)
        else:
            split = fold_of_rest(split, used.codes, groups, self._seed, repeat, self._folds)
        split = make_imbalanced(split, used.codes, options.imbalance, seed=self._seed)
        return divide(samples, options, seed=self._seed, saved_split=split, graphs=graphs)

    def _once(self, what: str, config: Config, make: Callable[[], Any]) -> Any:
        key = json.dumps([self._name, what, asdict(config.data)])
        if key not in _kept:
            _kept[key] = make()
        _kept.move_to_end(key)
        while len(_kept) > _MOST_KEPT:
            _kept.popitem(last=False)
        return _kept[key]


def another_division(
    split: Split,
    codes: Int[np.ndarray, " N"],
    groups: Shaped[np.ndarray, " N"],
    fractions: tuple[float, float, float],
    seed: int,
) -> Split:
    """Divide what is not in the test part of a split into training and validation part by another seed."""
    rest = np.union1d(split.train, split.val)
    held = np.ones(len(codes), dtype=bool)
    held[rest] = False
    divided = make_split(codes, groups, held=held, fractions=fractions, seed=seed)
    return replace(split, train=divided.train, val=divided.val)


def fold_of_rest(
    split: Split, codes: Int[np.ndarray, " N"], groups: Shaped[np.ndarray, " N"], seed: int, fold: int, folds: int
) -> Split:
    """Make one fold of what is not in the test part the validation part, and the others the training part."""
    rest = np.union1d(split.train, split.val)
    parts = make_split(codes[rest], groups[rest], seed=seed, fold=fold, folds=folds)
    return replace(split, train=rest[np.union1d(parts.train, parts.val)], val=rest[parts.test])
