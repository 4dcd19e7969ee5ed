"""Training: from a configuration to a run, and from a search space to the best configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matcard._lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "FinishedRun": "finished",
        "StudyOptions": "study.options",
        "resume": "run",
        "train": "run",
        "tune": "study.tuning",
    },
)

if TYPE_CHECKING:
    from matcard.training.finished import FinishedRun as FinishedRun
    from matcard.training.run import resume as resume
    from matcard.training.run import train as train
    from matcard.training.study.options import StudyOptions as StudyOptions
    from matcard.training.study.tuning import tune as tune
