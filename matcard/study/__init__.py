"""Optuna studies: what is searched, who runs trials, what is left.

The path of one trial:

1. `options`, `settings`: what the study begins with, from the command line and the file of its space; `tuning` makes
   the study or opens it again, and runs it.
2. `storage`: where its trials are recorded. `workers`: `queue` hands a worker the next trial, `liveness` finds the
   workers that have died.
3. `search`: the sampler chooses a point of the space, which becomes a configuration.
4. `trial`: `objective` trains it on each fold or seed, `evaluation` scores the validation part, a pruner may end it.
5. `workers.worker` records the values, or why there are none. `screen` shows them.
6. `results`: when all have ended, the table, the figures, `best.yaml` and the gain on the defaults. `retrain`: the best
   and the defaults at full length; only there is anything tested.

`folder` says what lies where.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from matcard._lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, {"StudyOptions": "options", "tune": "tuning"})

if TYPE_CHECKING:
    from matcard.study.options import StudyOptions as StudyOptions
    from matcard.study.tuning import tune as tune
