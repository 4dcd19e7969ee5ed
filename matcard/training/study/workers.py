"""`run_trials`: the trials of a study, in this process or in several, that count together with those of other machines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from optuna import Trial
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial

    from matcard.training.study.liveness import Heartbeat


@dataclass(frozen=True)
class RunSummary:
    """How a call of `run_trials` ended."""

    finished: int
    """Trials of the study that are complete or pruned, those of earlier calls and of other workers included."""
    failed: int
    """Trials that failed since the call began."""
    total: int
    """Trials that were to finish."""
    stopped: Literal["done", "timeout", "failing", "exhausted"]
    """Why no further trial began: `total` are finished; the time is up; too many fail; the grid has no more points."""
    message: str
    """The same in a sentence, with the commonest reason of failures."""


def run_trials(
    study_name: str,
    objective: Callable[[Trial], float | Sequence[float]],
    make_sampler: Callable[[int], BaseSampler],
    *,
    url: str | None,
    folder: Path,
    total: int,
    jobs: int = 1,
    timeout: float | None = None,
    pruner: BasePruner | None = None,
    heartbeat: Heartbeat | None = None,
    on_trial: Callable[[FrozenTrial], None] | None = None,
) -> RunSummary:
    """Run trials of an existing study until `total` are finished, by this and all other workers of the study.

    Any number of processes on any number of machines may do so at the same time, against one storage. Each takes care
    of trials whose worker has died.

    Args:
        study_name: name of a study in the storage.
        objective: gives the value or values of a trial. An exception or NaN fails the trial, with its reason in the
            trial's user attribute `failure`, and another takes its place.
        make_sampler: gives the sampler of a worker for a number that no other worker of the study has: 0 for the first
            worker of a new study. Mixed into the seed, no two workers draw the same values.
        url: where the study is stored, see `open_storage`.
        folder: the study's directory.
        total: finished (complete or pruned) trials that the study is to have.
        jobs: processes. 1 runs in this one; more are spawned, which needs a picklable objective and `make_sampler`,
            and share the cores and the GPUs.
        timeout: seconds after which no further trial begins.
        pruner: stops trials early; none does not.
        heartbeat: how a dead worker is told from a slow one.
        on_trial: called here with each trial that ended since the call, whoever ran it.

    Raises:
        InputError: no such study or storage.
        KeyboardInterrupt: Ctrl-C or SIGTERM; the message says what is kept. Running trials are put back in line.
    """
    raise NotImplementedError
