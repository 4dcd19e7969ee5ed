"""Studies whose trials play at training; processes of their own import them from here."""

from __future__ import annotations

import io
import math
import os
import signal
import socket
import time
from contextlib import contextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import optuna
from rich.console import Console

from matcard.study.settings import StudyDir
from matcard.study.space import make_space
from matcard.study.storage import close_storage, open_storage
from matcard.study.trials import Trials
from matcard.training.config import config_to_dict, parse_config
from matcard.work.attempt import NoValueError, PrunedError
from matcard.work.screen import Screen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from matcard.training.options import Config
    from matcard.work.attempt import Record, Wire

NAME = "study"
SPACE = make_space({"optimizer.lr": {"type": "float", "low": 0.001, "high": 0.1, "log": True}})
BASE = config_to_dict(parse_config(["--config=synthetic", "--optimizer.lr=0.5"], prog="", description=""))


@dataclass(frozen=True)
class Plays:
    """Is worth 1 at the learning rate .01 and less beside it; reports as many epochs as it is told.

    Attributes:
        rate: learning rate.
        log: folder in which each training leaves a file.
        kill: file that says, by being there, that the process is to be killed in the middle, once.
        epochs: number of reports.
        most: rates above it give no value.
    """

    rate: float
    log: Path
    kill: Path | None = None
    epochs: int = 1
    most: float = 1.0

    def __call__(self, folder: Path, line: Wire) -> Record:
        (self.log / f"{self.rate!r}-{time.monotonic_ns()}").touch()
        if self.kill is not None and self.kill.exists():
            self.kill.unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        if self.rate > self.most:
            raise NoValueError(f"a rate of {self.rate}")
        value = 1 - abs(math.log10(self.rate / 0.01))
        for epoch in range(self.epochs):
            if line.ask({"step": epoch, "value": value}):
                raise PrunedError
        return {"metrics": {"macro_f1": value, "mcc": None}}


def trainings(log: Path) -> list[str]:
    """Give the learning rates that were trained, by whichever attempts, in order."""
    made = sorted(log.iterdir(), key=lambda path: int(path.name.rsplit("-", 1)[1]))
    return [path.name.rsplit("-", 1)[0] for path in made]


def new_study(folder: Path, url: str | None = None, **options: Any) -> optuna.Study:
    """Make a study, or open it."""
    folder.mkdir(parents=True, exist_ok=True)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(
        storage=open_storage(url, folder),
        study_name=NAME,
        direction="maximize",
        load_if_exists=True,
        **{"sampler": optuna.samplers.RandomSampler(0), **options},
    )


@contextmanager
def trials_of(
    study: optuna.Study,
    folder: Path,
    make_job: Callable[[Config], Plays],
    total: int,
    *,
    metrics: Sequence[str] = ("macro_f1",),
    points: int | None = None,
    timeout: float | None = None,
) -> Iterator[Trials]:
    """Give the agenda of a study's trials."""
    settings = SimpleNamespace(trial=BASE, options=SimpleNamespace(timeout=timeout))
    begun = SimpleNamespace(study=study, space=SPACE, settings=settings, job=make_job, folder=StudyDir(folder))
    begun.metrics, begun.points = metrics, points
    with Screen(Console(file=io.StringIO()), "trials", total) as screen:
        try:
            yield Trials(begun, total, screen)
        finally:
            close_storage(study._storage)


def free_port() -> int:
    """Give a port of this machine that nobody listens at."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
