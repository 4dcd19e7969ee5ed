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
        "compare_ranks": "statistics",
        "corrected_t_test": "statistics",
        "holm": "statistics",
        "read_experiment": "experiment_file",
        "reproduce": "published",
        "summarise": "summary",
        "t_interval": "statistics",
    },
)

if TYPE_CHECKING:
    from matcard.comparison.experiment import Experiment as Experiment
    from matcard.comparison.experiment_file import read_experiment as read_experiment
    from matcard.comparison.options import CompareOptions as CompareOptions
    from matcard.comparison.published import reproduce as reproduce
    from matcard.comparison.run import compare as compare
    from matcard.comparison.statistics import compare_ranks as compare_ranks
    from matcard.comparison.statistics import corrected_t_test as corrected_t_test
    from matcard.comparison.statistics import holm as holm
    from matcard.comparison.statistics import t_interval as t_interval
    from matcard.comparison.summary import summarise as summarise
