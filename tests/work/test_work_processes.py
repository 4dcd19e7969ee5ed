"""Processes that share work: what each sees from its first import on, its last word, its death."""

from __future__ import annotations

import os
import signal
from functools import partial
from typing import TYPE_CHECKING

import pytest

from matcard.errors import InputError, TrainingError
from matcard.work.interruption import Interruption
from matcard.work.processes import THREADS, Processes, share, visible_gpus

if TYPE_CHECKING:
    from pathlib import Path

AT_FIRST = (*map(os.environ.get, (*THREADS, "CUDA_VISIBLE_DEVICES")), signal.getsignal(signal.SIGINT))
"""What a process finds while it loads its modules."""


@pytest.fixture(autouse=True)
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    for name in THREADS:
        monkeypatch.delenv(name, raising=False)


def tell(interruption: Interruption) -> object:
    return AT_FIRST


def refuse(interruption: Interruption) -> str:
    raise InputError("there is no such thing")


def fail(interruption: Interruption) -> str:
    raise ZeroDivisionError("for a test")


def die(folder: Path, times: int, number: int, interruption: Interruption) -> str:
    """Be killed so many times in all."""
    deaths = len(list(folder.iterdir()))
    if deaths < times:
        (folder / str(deaths)).touch()
        os.kill(os.getpid(), number)
        with interruption.allowed():
            raise AssertionError("the signal has come")
    return "done"


def run(work, jobs=1):
    rounds: list[None] = []
    with Interruption() as interruption:
        return Processes(work, jobs, most_deaths=2).run(interruption, lambda: rounds.append(None))


def test_shares_hold_and_ctrl_c_is_the_parents_before_anything_is_loaded():
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    threads = (str(max(1, cores // 2)),) * len(THREADS)
    assert set(run(tell, jobs=2)) == {(*threads, gpu, signal.SIG_IGN) for gpu in ("3", "5")}
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "3,5"
    assert "OPENBLAS_NUM_THREADS" not in os.environ
    assert signal.getsignal(signal.SIGINT) is not signal.SIG_IGN


def test_an_error_of_a_worker_is_the_parents(capfd):
    with pytest.raises(InputError, match="there is no such thing"):
        run(refuse)
    with pytest.raises(TrainingError, match="worker 0 ended with code 1; its traceback stands above"):
        run(fail)
    assert "ZeroDivisionError: for a test" in capfd.readouterr().err


@pytest.mark.skipif(os.name != "posix", reason="signals of Unix")
@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM"])
def test_who_is_killed_is_replaced_but_not_for_ever(tmp_path, name):
    number = getattr(signal, name)
    (tmp_path / "two").mkdir()
    assert run(partial(die, tmp_path / "two", 2, number)) == ["done"]
    (tmp_path / "three").mkdir()
    with pytest.raises(TrainingError, match=f"workers were killed 3 times, at last by signal {number:d}"):
        run(partial(die, tmp_path / "three", 3, number))


def test_more_workers_than_gpus_take_them_in_turn(monkeypatch):
    assert [share(i, 3, ["0", "1"])["CUDA_VISIBLE_DEVICES"] for i in range(3)] == ["0", "1", "0"]
    assert "CUDA_VISIBLE_DEVICES" not in share(0, 3, [])
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert share(0, 2, [])["OMP_NUM_THREADS"] == "7", "what the user has set stays"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-a, MIG-b")
    assert visible_gpus() == ["GPU-a", "MIG-b"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert visible_gpus() == []
