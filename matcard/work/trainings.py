"""Trainings that run side by side: their data, read once in a process and divided anew for each; how they are ended.

A training ends when it is told to, and is plain about memory that was too small.
"""

from __future__ import annotations

import json
import uuid
import warnings
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from lightning.pytorch.callbacks import LambdaCallback
from rich.console import Console

from matcard.data.groups import deal, group_keys
from matcard.data.read import divide, open_inputs, read_labelled
from matcard.data.splits import Split, grouped_by, inner_split, make_split, split_samples, tell_missing
from matcard.errors import MatcardWarning, concerning
from matcard.training.fit import fit
from matcard.work.attempt import NoValueError, StoppedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from jaxtyping import Float, Int, Shaped
    from lightning.pytorch.callbacks import Callback

    from matcard.data.dataset import TrainingSet
    from matcard.data.options import DataOptions
    from matcard.data.samples import Samples
    from matcard.training.batches import DataModule
    from matcard.training.module import TrainingModule
    from matcard.training.options import Config
    from matcard.training.rundir import RunDir
    from matcard.work.attempt import Wire

DEVELOPMENT = 0.2
"""Share of the samples, in whole groups, that options are chosen by where no test part may hold them."""
_MOST_KEPT = 16
"""Sources and divisions kept at once; the least recently used goes."""
_kept: dict[str, Any] = {}
"""Those of this process, whichever trainings it runs."""
_NO_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")
"""What torch says of it on CUDA, on CPUs and on Apple's devices."""


@dataclass(frozen=True)
class Division:
    """Which samples a training sees, and in which parts.

    Attributes:
        seed: of the division.
        part: `all` are divided; or for `development` a fifth of the samples, in whole groups and the same for every
            seed, validates, all others train and none are tested; or the others, the `rest`, are divided into parts of
            the sizes that the options say, where that fifth goes to the training part.
        again: how often what is not tested has been divided anew, of `all`; or which fold of it validates.
        folds: number of folds of what is not tested, or None.
    """

    seed: int
    part: Literal["all", "development", "rest"] = "all"
    again: int = 0
    folds: int | None = None


class SharedData:
    """Gives the data of trainings; what they have in common is read once in a process, and anew for another command."""

    def __init__(self) -> None:
        self._name = uuid.uuid4().hex

    def samples(self, options: DataOptions) -> Samples:
        """Read samples with their classes.

        Raises:
            InputError: data that cannot be read.
        """
        samples: Samples = self._once("samples", options, lambda: read_labelled(options))
        return samples

    def divided(self, options: DataOptions, how: Division, *, graphs: bool = True) -> TrainingSet:
        """Divide samples.

        Args:
            options: of the data.
            how: they are divided.
            graphs: of crystals are needed, even where they have descriptors.

        Raises:
            InputError: data that cannot be read or divided so.
        """

        def make() -> TrainingSet:
            samples, split = self.samples(options), self._split(options, how)  # before graphs are built, should it fail
            inputs = self._once(f"inputs {graphs}", options, lambda: open_inputs(samples, options, graphs=graphs))
            return divide(samples, options, seed=how.seed, split=split, inputs=inputs)

        found: TrainingSet = self._once(f"{how} {graphs}", options, make)
        return found

    def _split(self, options: DataOptions, how: Division) -> Split:
        samples, asked, seed = self.samples(options), options.split, how.seed
        if how == Division(seed):
            return split_samples(samples, asked, seed=seed)
        used = samples.take(samples.used)
        kind = grouped_by(used, asked)
        codes, groups = used.codes, self._once("groups", options, lambda: group_keys(used, kind))
        about: dict[str, Any] = {"kind": kind, "class_names": used.class_names}
        if how.part == "all":
            split = split_samples(samples, asked, seed=seed)
            rest, (train, val, _) = np.union1d(split.train, split.val), asked.fractions
            if how.folds is None:
                share = val / (train + val)
                divided = inner_split(codes[rest], groups[rest], share, seed=seed + how.again, **about)
            else:
                folds = make_split(codes[rest], groups[rest], seed=seed, fold=how.again, folds=how.folds, **about)
                divided = replace(folds, train=np.union1d(folds.train, folds.val), val=folds.test)
            return replace(split, train=rest[divided.train], val=rest[divided.val])
        with concerning("tune_on: development"):
            split = self._with_development(codes, groups, how, np.array(asked.fractions))
        tell_missing(split, codes, used.class_names)
        return replace(split, kind=kind, groups=kind)

    @staticmethod
    def _with_development(
        codes: Int[np.ndarray, " N"],
        groups: Shaped[np.ndarray, " N"],
        how: Division,
        fractions: Float[np.ndarray, " parts"],
    ) -> Split:
        chosen = deal(codes, groups, np.array([1 - DEVELOPMENT, DEVELOPMENT]), np.random.default_rng(0))
        rest, decides = (np.flatnonzero(chosen == k) for k in (0, 1))
        if how.part == "development":
            if not 0.5 * DEVELOPMENT < len(decides) / len(codes) < 1.5 * DEVELOPMENT:
                warnings.warn(
                    f"options are chosen by {len(decides)} of {len(codes)} samples, not by a fifth: there are few "
                    "groups, or some are large; choose finer ones (--data.split.kind)",
                    MatcardWarning,
                    stacklevel=3,
                )
            return Split(rest, decides, np.empty(0, np.int64), "groups", how.seed)
        shares = (fractions - [DEVELOPMENT, 0, 0]) / (1 - DEVELOPMENT)
        with concerning("without the fifth that options are chosen by"):
            part = deal(codes[rest], groups[rest], shares, np.random.default_rng(how.seed))
        train, val, test = (rest[part == k] for k in range(3))
        return Split(np.union1d(train, decides), val, test, "groups", how.seed)

    def _once(self, what: str, options: DataOptions, make: Callable[[], Any]) -> Any:
        key = json.dumps([self._name, what, asdict(options)])
        _kept[key] = _kept.pop(key) if key in _kept else make()  # the last is the most recently used
        while len(_kept) > _MOST_KEPT:
            del _kept[next(iter(_kept))]
        return _kept[key]


@contextmanager
def fitted(
    run: RunDir, config: Config, data: DataModule, line: Wire, callbacks: Sequence[Callback] = ()
) -> Iterator[TrainingModule]:
    """Train without a word, or go on where the run has a checkpoint; the block is what is done with the module.

    Raises:
        NoValueError: the memory was too small, for the training or for the block.
        TrainingError: the loss stopped being finite.
        StoppedError: the line said so.
    """

    def look(*_: Any) -> None:
        if line.stopping:  # its last finished epoch stays
            raise StoppedError

    with told(), warnings.catch_warnings():
        # What libraries tell programmers, and matcard of every training alike.
        warnings.simplefilter("ignore")
        module = fit(run, config, data, Console(quiet=True), [LambdaCallback(on_train_batch_end=look), *callbacks])
        assert module is not None, "what runs side by side trains on one device each"
        yield module


@contextmanager
def told() -> Iterator[None]:
    """Say in plain words that the memory was too small, and give it back.

    Raises:
        NoValueError: the block ran out of memory.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not (isinstance(error, MemoryError) or any(words in str(error).lower() for words in _NO_MEMORY)):
            raise
        failure = NoValueError("out of memory: search smaller --trainer.batch_size or --model.width")
    else:
        return
    # Here the error is gone, and with it the frames that hold the tensors.
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    raise failure
