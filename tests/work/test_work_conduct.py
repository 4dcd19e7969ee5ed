"""The coordinator's decisions, without any process: a scripted pool, and this process itself."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import tempfile
from functools import cache, partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from work_cases import Fails, Listed, Steps, steps_of

from matcard.errors import InputError, TrainingError
from matcard.work.attempt import BEGUN, DIED, RECORD, STOPPED, NoValueError, Wire, attempt
from matcard.work.conduct import KILLED, MOST_DEATHS, Interruption, conduct, next_attempt
from matcard.work.pool import Inline


@pytest.fixture
def log(tmp_path):
    (tmp_path / "log").mkdir()
    return tmp_path / "log"


class Scripted:
    """A pool of some workers in this process; what is to happen to each attempt is said beforehand.

    `dies` before it begins, `half`: after a step, `epoch`: after an epoch, `full`: the disk is full before it begins,
    `late`: it ends, but only after it was taken for dead.
    """

    def __init__(self, workers: int, script: dict[str, list[str]], log: Path) -> None:
        self.workers = workers
        self.script = script
        self.log = log
        self.at_once: list[int] = []
        self.waiting: list[tuple[object, Path]] = []
        self.late: list[tuple[object, Path]] = []

    def room(self) -> int:
        return self.workers - len(self.waiting)

    def submit(self, job, folder):
        if len(self.waiting) == self.workers:
            return False
        self.waiting.append((job, folder))
        self.at_once.append(len(self.waiting))
        return True

    def wait(self, answer):
        job, folder = self.waiting.pop(0)
        events = self.script.get(folder.parent.name, [])
        event = events.pop(0) if events else "ends"
        for late in self.late:
            attempt(*late, Wire(lambda _: None), alone=False)
        self.late = []
        if event in ("half", "epoch", "training"):
            folder.mkdir(parents=True)
            before = sorted(folder.parent.glob("*/checkpoints"))
            if before:
                shutil.copytree(before[-1], folder / "checkpoints")
            (folder / BEGUN).touch()
            (folder / "done").write_text("1")
            if event == "epoch":
                (folder / "checkpoints").mkdir(exist_ok=True)
                (folder / "checkpoints/last.ckpt").touch()
                os.utime(folder / BEGUN, (0, 0))
            if event == "training":  # one of several of a trial: its scores are left, and no checkpoint
                (folder / "0").mkdir()
                (folder / "0" / "validation.npz").touch()
                os.utime(folder / BEGUN, (0, 0))
        elif event == "late":
            self.late.append((job, folder))
        elif event == "ends":
            attempt(job, folder, Wire(lambda message: answer(folder, message)), alone=False)
        return {folder: "OSError: no space" if event == "full" else ""}


def run(agenda, pool, folder):
    with Interruption() as interruption:
        conduct(agenda, lambda: pool, folder / "running", interruption)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.sampled_from(["ended", "foreign", "died", "stopped", "nobody's"]), max_size=6))
def test_a_task_is_tried_again_until_it_ends_or_two_workers_died(kinds):
    """An attempt with a record of ours is the outcome, whatever else there is; who was stopped has not died."""
    marks = {"ended": [], "foreign": [], "died": [DIED], "stopped": [DIED, STOPPED], "nobody's": [BEGUN]}
    records = {"ended": '{"status": "finished"}', "foreign": "[1]"}
    agenda = Listed({})
    with tempfile.TemporaryDirectory() as folder:
        for number, kind in enumerate(kinds, 1):
            (made := Path(folder, "a", str(number))).mkdir(parents=True)
            for mark in marks[kind]:
                (made / mark).touch()
            if kind in records:
                (made / RECORD).write_text(records[kind])
        following = next_attempt(agenda, "a", Path(folder, "a"))
        if "ended" in kinds:
            assert agenda.records["a"]["status"] == "finished"
        elif kinds.count("died") >= MOST_DEATHS:
            assert agenda.records["a"]["reason"] == KILLED
        else:
            assert following == Path(folder, "a", str(len(kinds) + 1))
            assert not agenda.records
        assert (following is None) == bool(agenda.records) == (bool(kinds) and not Path(folder, "a").exists())


def test_everything_is_done_once_and_never_more_at_once_than_there_are_workers(tmp_path, log):
    agenda = Listed({name: Steps(log, name) for name in "abcdefg"})
    pool = Scripted(3, {}, log)
    run(agenda, pool, tmp_path)
    assert sorted(agenda.records) == list("abcdefg")
    assert max(pool.at_once) == 3
    assert all(steps_of(log, name) == [0, 1, 2] for name in "abcdefg")
    assert not (tmp_path / "running").exists()


def test_a_killed_task_goes_on_once_and_then_has_failed_while_the_rest_goes_on(tmp_path, log):
    agenda = Listed({name: Steps(log, name) for name in "abcdefg"})
    script = {
        "a": ["half"],
        "b": ["dies", "dies", "half"],  # behind those of another study
        "c": ["half", "half"],
        "d": ["half", "epoch", "epoch"],
        "e": ["epoch", "half", "half"],
        "g": ["half", "training", "training"],
    }
    run(agenda, Scripted(2, script, log), tmp_path)
    assert agenda.records["a"]["from"] == 1, "where the dead worker had come to"
    assert {key: record["status"] for key, record in agenda.records.items()} == {
        "a": "finished",
        "b": "finished",
        "c": "failed",
        "d": "finished",
        "e": "failed",
        "f": "finished",
        "g": "finished",
    }
    assert agenda.records["c"]["reason"] == agenda.records["e"]["reason"] == KILLED


def test_what_keeps_a_worker_from_an_attempt_is_the_reason(tmp_path, log):
    agenda = Listed({name: Steps(log, name) for name in "ab"})
    run(agenda, Scripted(1, {"a": ["full", "full"]}, log), tmp_path)
    assert agenda.records["a"]["reason"] == "OSError: no space"
    assert agenda.records["b"]["status"] == "finished"


def test_a_late_attempt_is_taken_where_it_is_the_first_and_ignored_where_it_is_not(tmp_path, log):
    agenda = Listed({"a": Steps(log, "a")})
    run(agenda, Scripted(1, {"a": ["late"]}, log), tmp_path)
    assert agenda.records["a"]["status"] == "finished"
    assert steps_of(log, "a") == [0, 1, 2], "the second looked for the record of the first before it began"
    folder = tmp_path / "running" / "a" / "9"
    attempt(Steps(log, "a"), folder, Wire(lambda _: None), alone=False)
    again = Listed({"b": Steps(log, "b")})
    run(again, Scripted(1, {}, log), tmp_path)
    assert set(again.records) == {"b"}


def test_an_end_that_a_killed_coordinator_did_not_see_is_recorded_without_another_attempt(tmp_path, log):
    attempt(Steps(log, "a"), tmp_path / "running/a/1", Wire(lambda _: None), alone=False)
    agenda = Listed({"a": Steps(log, "a")})
    pool = Scripted(1, {}, log)
    run(agenda, pool, tmp_path)
    assert agenda.records["a"]["status"] == "finished"
    assert pool.at_once == []


def test_who_was_killed_in_the_coordinators_own_process_counts(tmp_path, log):
    """Else a task that is too large for the memory would be taken first by every command."""
    for number in (1, 2):
        folder = tmp_path / "running/a" / str(number)
        folder.mkdir(parents=True)
        (folder / BEGUN).touch()
        (folder / DIED).touch()
    agenda = Listed({"a": Steps(log, "a"), "b": Steps(log, "b")})
    run(agenda, Scripted(1, {}, log), tmp_path)
    assert {key: record["status"] for key, record in agenda.records.items()} == {"a": "failed", "b": "finished"}


def test_an_attempt_that_was_begun_is_not_begun_again(tmp_path, log):
    """Dask gives an attempt whose worker died to another worker, unasked."""
    folder = tmp_path / "a" / "1"
    folder.mkdir(parents=True)
    attempt(Steps(log, "a"), folder, Wire(lambda _: None), alone=False)
    assert steps_of(log, "a") == []
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "record"),
    [
        (InputError("no such thing"), {"reason": "no such thing"}),
        (NoValueError("collapsed"), {"reason": "collapsed"}),
        (TrainingError("the loss is nan"), {"reason": "the loss is nan", "diverged": True}),
        (ZeroDivisionError("for a test"), {"reason": "ZeroDivisionError: for a test"}),
        (SystemExit(3), {"reason": "the training exited with code 3"}),
    ],
)
def test_why_a_job_failed_is_recorded_and_the_rest_goes_on(tmp_path, log, error, record):
    agenda = Listed({"a": Fails(error), "b": Steps(log, "b")})
    with Interruption() as interruption:
        conduct(agenda, cache(partial(Inline, interruption)), tmp_path / "running", interruption)
    assert agenda.records["a"]["status"] == "failed"
    assert record.items() <= agenda.records["a"].items()
    assert ("diverged" in agenda.records["a"]) == ("diverged" in record)
    assert agenda.records["b"]["status"] == "finished"


def test_what_another_agenda_has_begun_is_left_to_it(tmp_path, log):
    (tmp_path / "running/of-another/1").mkdir(parents=True)
    with Interruption() as interruption:
        conduct(
            Listed({"a": Steps(log, "a")}), cache(partial(Inline, interruption)), tmp_path / "running", interruption
        )
    assert [path.name for path in (tmp_path / "running").iterdir()] == ["of-another"]


def test_a_full_disk_ends_the_command_and_nothing_has_failed(tmp_path, log):
    full = InputError("cannot be written")
    full.__cause__ = OSError(errno.ENOSPC, "No space left on device")
    agenda = Listed({"a": Fails(full), "b": Steps(log, "b")})
    with Interruption() as interruption, pytest.raises(TrainingError, match=r"running.* is full: make room"):
        conduct(agenda, cache(partial(Inline, interruption)), tmp_path / "running", interruption)
    assert not agenda.records
    agenda.jobs["a"] = Steps(log, "a")
    with Interruption() as interruption:
        conduct(agenda, cache(partial(Inline, interruption)), tmp_path / "running", interruption)
    assert {record["status"] for record in agenda.records.values()} == {"finished"}


def test_a_job_asks_and_is_pruned(tmp_path, log):
    agenda = Listed({"a": Steps(log, "a"), "b": Steps(log, "b")}, pruned={"a"})
    with Interruption() as interruption:
        conduct(agenda, cache(partial(Inline, interruption)), tmp_path / "running", interruption)
    assert agenda.records["a"]["status"] == "pruned"
    assert agenda.messages == [("a", {"step": 0}), *(("b", {"step": k}) for k in range(3))]


@pytest.mark.skipif(os.name != "posix", reason="signals of Unix")
def test_ctrl_c_keeps_what_is_finished_and_the_next_goes_on_where_it_was(tmp_path, log):
    class Interrupted(Steps):
        def __call__(self, folder, line):
            if not (self.log / "once").exists():
                (self.log / "once").touch()
                (folder / "done").write_text("2")
                os.kill(os.getpid(), signal.SIGINT)
            return super().__call__(folder, line)

    agenda = Listed({"a": Steps(log, "a"), "b": Interrupted(log, "b")})
    for _ in range(3):
        # However often it is interrupted, nobody died.
        (log / "once").unlink(missing_ok=True)
        with pytest.raises(KeyboardInterrupt), Interruption() as interruption:
            conduct(agenda, cache(partial(Inline, interruption)), tmp_path / "running", interruption)
    assert set(agenda.records) == {"a"}
    assert len(list((tmp_path / "running/b").glob("*/.stopped"))) == 3
    with Interruption() as interruption:
        conduct(agenda, cache(partial(Inline, interruption)), tmp_path / "running", interruption)
    assert agenda.records["b"]["from"] == 2
    assert steps_of(log, "a") == [0, 1, 2]
    assert steps_of(log, "b") == [2]


@pytest.mark.skipif(os.name != "posix", reason="signals of Unix")
def test_signals_wait_until_the_books_are_in_order():
    with Interruption() as interruption:
        os.kill(os.getpid(), signal.SIGINT)
        assert interruption.requested
        with pytest.raises(KeyboardInterrupt), interruption.allowed():
            pytest.fail("the block must not begin")
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
