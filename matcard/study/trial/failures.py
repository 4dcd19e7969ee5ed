"""Why a trial failed, in words that go into its record."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from matcard.errors import TrainingError

if TYPE_CHECKING:
    from collections.abc import Iterator

_NO_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")
"""What torch says of it on CUDA, on CPUs and on Apple's devices."""


class TrialError(TrainingError):
    """A training that gives no value; the message says why."""


@contextmanager
def told() -> Iterator[None]:
    """Say in plain words that the memory was too small, and give it back.

    Raises:
        TrialError: the block ran out of memory.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not (isinstance(error, MemoryError) or any(words in str(error).lower() for words in _NO_MEMORY)):
            raise
        failure = TrialError("out of memory: search smaller --trainer.batch_size or --model.width")
    else:
        return
    # Here the error is gone, and with it the frames that hold the tensors.
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    raise failure
