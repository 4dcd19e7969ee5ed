"""Studies, objectives and samplers that the tests of workers share; processes of their own import them from here."""

from __future__ import annotations

import os
import signal
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import optuna
from optuna.trial import TrialState

from matcard.study.storage.opening import open_storage, storage_opened

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

NAME = "study"
FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)


def new_study(folder: Path, url: str | None = None, directions: Sequence[str] = ("minimize",)) -> optuna.Study:
    return optuna.create_study(storage=open_storage(url, folder), study_name=NAME, directions=list(directions))


def make_study(folder: Path, url: str) -> None:
    """Make a study in a database or behind a proxy and leave no connection open."""
    with storage_opened(url, folder) as storage:
        optuna.create_study(storage=storage, study_name=NAME)


def stored(folder: Path, url: str | None = None) -> list[optuna.trial.FrozenTrial]:
    """Read the trials anew."""
    with storage_opened(url, folder) as storage:
        return optuna.load_study(study_name=NAME, storage=storage).trials


def finished(trials: list[optuna.trial.FrozenTrial]) -> list[optuna.trial.FrozenTrial]:
    return [trial for trial in trials if trial.state in FINISHED]


def wait_for(condition: Callable[[], object], seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.1)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def tpe(number: int) -> optuna.samplers.BaseSampler:
    return optuna.samplers.TPESampler(seed=number, n_startup_trials=4)


@dataclass(frozen=True)
class Quadratic:
    """x^2 after a nap."""

    nap: float = 0.0

    def __call__(self, trial: optuna.Trial) -> float:
        x = trial.suggest_float("x", -1.0, 1.0)
        time.sleep(self.nap)
        return x * x


@dataclass(frozen=True)
class KilledOnce:
    """The worker that runs trial `number` is killed in its middle; every other trial is x^2."""

    number: int = 2

    def __call__(self, trial: optuna.Trial) -> float:
        x = trial.suggest_float("x", -1.0, 1.0)
        if trial.number == self.number:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.05)
        return x * x


@dataclass(frozen=True)
class SlowAfter:
    """Trials from `number` on sleep for a minute, and say in `folder` that they have begun."""

    folder: str
    number: int

    def __call__(self, trial: optuna.Trial) -> float:
        x = trial.suggest_float("x", -1.0, 1.0)
        if trial.number >= self.number:
            (Path(self.folder) / f"begun-{trial.number}").touch()
            time.sleep(60)
        return x * x
