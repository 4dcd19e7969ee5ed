"""What a study shows while it runs: trials done, the best so far, the time left."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from optuna.trial import TrialState
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from matcard.evaluation.metrics import metric_label
from matcard.study.results.table import ranked
from matcard.study.workers.queue import FINISHED, failure_reason

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from optuna.trial import FrozenTrial
    from rich.console import Console


class Screen:
    """Shows each trial that ends: a bar on a screen, a line in a file or pipe.

    Args:
        console: what is printed to.
        trials: those that the study has already.
        metrics: what it improves.
        total: trials that it is to have finished.
        jobs: trials that run side by side.
    """

    def __init__(
        self, console: Console, trials: Sequence[FrozenTrial], metrics: Sequence[str], total: int, jobs: int = 1
    ) -> None:
        self._console = console
        self._trials = list(trials)
        self._metrics = metrics
        self._total = total
        self._jobs = jobs
        self._before = len(self._trials)
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("trials"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[best]}"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("", total=total, completed=self._finished, best=self._best(), left="")

    def __enter__(self) -> Screen:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def __call__(self, trial: FrozenTrial) -> None:
        """Show a trial that has ended."""
        self._trials.append(trial)
        self._bar.update(self._task, completed=self._finished, best=self._best(), left=self._left())
        if self._console.is_terminal and trial.state != TrialState.FAIL:
            return
        words = [f"trial {trial.number} {self._ended(trial)}"]
        if not self._console.is_terminal:
            words += [f"best so far: {self._best()}", f"{self._finished} of {self._total} trials{self._left()}"]
        self._console.print("; ".join(words), soft_wrap=True, markup=False, highlight=False)

    @property
    def _finished(self) -> int:
        return sum(trial.state in FINISHED for trial in self._trials)

    def _ended(self, trial: FrozenTrial) -> str:
        if trial.state == TrialState.FAIL:
            return f"failed: {failure_reason(trial)}"
        shown = "pruned" if trial.state == TrialState.PRUNED else shown_values(trial, self._metrics)
        return f"{shown} ({shown_params(trial.params)})"

    def _best(self) -> str:
        best = ranked(self._trials, self._metrics)
        if not best:
            return "none yet"
        front = f", one of {len(best)}" if len(self._metrics) > 1 else ""
        return f"{shown_values(best[0], self._metrics)} (trial {best[0].number}{front})"

    def _left(self) -> str:
        """Trials to come, each as long as a finished one took on the average, failed ones included."""
        left = self._total - self._finished
        ended = self._trials[self._before :]
        finished = sum(trial.state in FINISHED for trial in ended)
        if not finished or left <= 0:
            return ""
        seconds = sum(trial.duration.total_seconds() for trial in ended if trial.duration) / finished
        return f", about {shown_time(seconds * left / min(left, self._jobs))} left"


def shown_values(trial: FrozenTrial, metrics: Sequence[str]) -> str:
    """Write the values of a trial."""
    return " ".join(f"{metric_label(name)} {value:.3f}" for name, value in zip(metrics, trial.values, strict=True))


def shown_params(params: Mapping[str, Any]) -> str:
    """Write the values of parameters, the last part of their names being enough."""
    return ", ".join(f"{name.rsplit('.', 1)[-1]} {shown(value)}" for name, value in params.items()) or "the defaults"


def shown(value: Any) -> str:
    """Write the value of an option."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def shown_time(seconds: float) -> str:
    """Write a duration in the unit that suits it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
