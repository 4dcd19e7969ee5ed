"""Trainings as jobs: ended when they are told to, and plain about memory that was too small."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch.callbacks import Callback
from rich.console import Console

from matcard.training.fit import fit
from matcard.work.attempt import NoValueError, StoppedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lightning import LightningModule, Trainer

    from matcard.training.batches import DataModule
    from matcard.training.module import TrainingModule
    from matcard.training.options import Config
    from matcard.training.rundir import RunDir
    from matcard.work.attempt import Wire

_NO_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")
"""What torch says of it on CUDA, on CPUs and on Apple's devices."""


class EndsWhenStopped(Callback):
    """Ends a training, between two batches, whose attempt is to stop; its last finished epoch stays."""

    def __init__(self, line: Wire) -> None:
        self._line = line

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Look.

        Raises:
            StoppedError: it is to stop.
        """
        if self._line.stopping:
            raise StoppedError


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
    with told(), warnings.catch_warnings():
        # What libraries tell programmers, and matcard of every training alike.
        warnings.simplefilter("ignore")
        module = fit(run, config, data, Console(quiet=True), [EndsWhenStopped(line), *callbacks])
        if module is None:
            raise NoValueError("what runs side by side trains on one device each")
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
