"""Training: from a configuration to a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matcard._lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "FinishedRun": "finished",
        "resume": "run",
        "train": "run",
    },
)

if TYPE_CHECKING:
    from matcard.training.finished import FinishedRun as FinishedRun
    from matcard.training.run import resume as resume
    from matcard.training.run import train as train
