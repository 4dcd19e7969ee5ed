"""One attempt at a task, as a worker makes it: in a folder of its own, ended by a record that is written whole."""

from __future__ import annotations

import errno
import shutil
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

from matcard.errors import InputError, TrainingError
from matcard.files import read_json, to_json
from matcard.training.rundir import environment, write_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

RECORD = "record.json"
BEGUN, STOPPED, DIED = ".begun", ".stopped", ".died"
"""Marks in an attempt's folder: that it was begun, that it was stopped on purpose, that its worker died."""
LONGEST_REASON = 1000
"""Characters that are kept of a failure's reason; some databases hold no long texts."""

Record = dict[str, Any]
"""How an attempt ended: `status` (finished, failed, pruned), `reason`, when and where, and what the job gave."""


@dataclass
class Wire:
    """What a job may say to the coordinator, and hear from it.

    Attributes:
        ask: tells the coordinator something plain and gives its answer; None where nobody answers.
        stopping: whether the attempt is to end now and leave what it has for another.
    """

    ask: Callable[[Any], Any]
    stopping: bool = False


class Job(Protocol):
    """What a task does; picklable."""

    def __call__(self, folder: Path, line: Wire) -> Record:
        """Work in a folder, going on with what lies there, and give plain values for the record.

        Raises:
            NoValueError, InputError, TrainingError: it cannot be done; the message says why.
            PrunedError: the coordinator does not want to know the end.
            StoppedError: the line says so.
        """


class NoValueError(TrainingError):
    """A training that gives no value; the message says why. Unlike a loss that diverges it may go well next time."""


class PrunedError(Exception):
    """The coordinator does not want to know the end."""


class StoppedError(Exception):
    """The attempt was told to stop."""


def attempts(task: Path) -> list[Path]:
    """Give the folders of the attempts at a task, the earliest first."""
    return sorted(task.glob("[0-9]*"), key=lambda path: int(path.name))


def read_record(folder: Path, name: str = RECORD) -> Record | None:
    """Give the record of an attempt, or another one in a folder; None where there is none, or half of one."""
    try:
        value = read_json(folder / name)
    except InputError:
        return None
    return value if isinstance(value, dict) else None


def settle(folder: Path, final: Path) -> None:
    """Move what an attempt wrote to its final place, in place of what lies there."""
    shutil.rmtree(final, ignore_errors=True)
    final.parent.mkdir(parents=True, exist_ok=True)
    for mark in (BEGUN, STOPPED, DIED):
        (folder / mark).unlink(missing_ok=True)
    folder.rename(final)


def attempt(job: Job, folder: Path, line: Wire, *, alone: bool) -> None:
    """Make an attempt; it leaves a record in its folder unless it was stopped.

    Nothing is done where another attempt has ended meanwhile, or where this one was begun before: its worker died then,
    and Dask gives it to another, unasked.

    Args:
        job: what is done.
        folder: of the attempt, made here; the attempts before it lie beside it.
        line: to the coordinator.
        alone: whether this is the coordinator's own process.

    Raises:
        TrainingError: the disk is full, so that others would fail as well.
    """
    before = [path for path in attempts(folder.parent) if path != folder]
    if any(read_record(path) for path in before):
        return
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        return
    if begun := [path for path in before if (path / BEGUN).exists()]:
        shutil.copytree(begun[-1], folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(BEGUN, STOPPED, DIED))
    if alone:  # who kills this process kills the coordinator, which could not say so afterwards
        write_text(folder / DIED, "")
    write_text(folder / BEGUN, "")
    try:
        record = attempted(job, folder, line)
    except StoppedError:
        with suppress(FileNotFoundError):  # the task has ended meanwhile, by another attempt
            (folder / STOPPED).touch()
        return
    to_json(record, folder / RECORD)


def attempted(job: Job, folder: Path, line: Wire) -> Record:
    """Do a job and give its record, whether it ends well or not.

    Raises:
        StoppedError, KeyboardInterrupt: it was stopped, which is no outcome.
        TrainingError: the disk is full, which is none either.
    """
    began = time.time()
    found: Record = {}
    status, reason = "failed", ""
    try:
        found = job(folder, line)
        status = "finished"
    except StoppedError:
        raise
    except PrunedError:
        status = "pruned"
    except SystemExit as exited:  # somebody's, which ends a worker's process and is no Ctrl-C
        reason = f"the training exited with code {exited.code}"
    except Exception as error:
        if is_full(error):
            raise TrainingError(f"the disk of {folder} is full: make room, and give the same command") from error
        reason = str(error) if isinstance(error, (TrainingError, InputError)) else f"{type(error).__name__}: {error}"
        if isinstance(error, TrainingError) and not isinstance(error, NoValueError):
            found = {"diverged": True}
    about = {"attempt": uuid.uuid4().hex, "began": began, "seconds": time.time() - began, "environment": where()}
    return {"status": status, **({"reason": reason[:LONGEST_REASON]} if reason else {}), **about, **found}


def is_full(error: BaseException | None) -> bool:
    """Tell whether an error came of a disk, or a user's share of one, that takes no more."""
    while error is not None and getattr(error, "errno", None) not in (errno.ENOSPC, errno.EDQUOT):
        error = error.__cause__ or error.__context__
    return error is not None


@cache
def where() -> dict[str, Any]:
    """Say on what this process runs: versions, commit, device."""
    return {name: value for name, value in environment().items() if name != "command"}
