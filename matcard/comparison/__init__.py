"""Fair comparisons: data sets x losses x seeds under one protocol, with equal budgets and honest tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matcard._lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "CompareOptions": "options",
        "Experiment": "experiment",
        "compare": "run",
        "read_experiment": "experiment",
        "summarise": "results",
    },
)

if TYPE_CHECKING:
    from matcard.comparison.experiment import Experiment as Experiment
    from matcard.comparison.experiment import read_experiment as read_experiment
    from matcard.comparison.options import CompareOptions as CompareOptions
    from matcard.comparison.results import summarise as summarise
    from matcard.comparison.run import compare as compare
