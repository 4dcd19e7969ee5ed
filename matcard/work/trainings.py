"""Trainings as jobs: ended when they are told to, and plain about memory that was too small."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch.callbacks import Callback

from matcard.work.attempt import NoValueError, StoppedError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lightning import LightningModule, Trainer

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
