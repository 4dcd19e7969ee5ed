"""Pools of other processes, killed in many ways."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from multiprocessing import current_process
from pathlib import Path
from types import SimpleNamespace

import pytest
from clusters import running_cluster, wait_for
from rich.console import Console
from work_cases import Listed, Steps, steps_of

from matcard.errors import InputError, TrainingError
from matcard.work import cluster
from matcard.work.cluster import GONE, THREADS, Cluster, cluster_at, cluster_of, gpu_of, threads_of, visible_gpus
from matcard.work.conduct import Interruption, conduct
from matcard.work.folder import HOLDER

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals of Unix")


@pytest.fixture(autouse=True)
def note(tmp_path):
    """Stands for the note of who holds the folder's lock."""
    (tmp_path / HOLDER).write_text("me", encoding="utf-8")


@dataclass(frozen=True)
class Exits:
    """Ends the process, as it thinks."""

    def __call__(self, folder, line):
        sys.exit(3)


@dataclass(frozen=True)
class Unwritten:
    """Ends well, but its record cannot be written, as on a full disk."""

    def __call__(self, folder, line):
        return {"value": object()}


@dataclass(frozen=True)
class Tells:
    """Says what a worker finds."""

    def __call__(self, folder, line):
        ignored = signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, [])  # from its first moment on
        return {
            "threads": [os.environ[name] for name in THREADS],
            "gpu": os.environ["CUDA_VISIBLE_DEVICES"],
            "may_start_processes": not current_process().daemon,
            "ctrl_c_is_the_coordinators": ignored,
        }


def test_workers_of_this_machine_are_killed_and_replaced_and_nothing_is_lost(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    for name in THREADS:
        monkeypatch.delenv(name, raising=False)
    log = tmp_path / "log"
    log.mkdir()
    agenda = Listed(
        {
            "tells": Tells(),
            "once": Steps(log, "once", deaths=1),
            "plain": Steps(log, "plain", seconds=0.1),
            "after": Steps(log, "after", at=3),
            "exits": Exits(),
            "unwritten": Unwritten(),
            "pruned": Steps(log, "pruned"),
        },
        pruned={"pruned"},
    )
    with Interruption() as interruption, cluster_of(2, tmp_path, Console(file=io.StringIO())) as pool:
        wait_for(lambda: pool.room() == 2)
        conduct(agenda, lambda: pool, tmp_path / "running", interruption)
    told = agenda.records.pop("tells")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert told["threads"] == [str(max(1, cores // 2))] * len(THREADS)
    assert told["gpu"] in ("3", "5")
    assert told["may_start_processes"]
    assert told["ctrl_c_is_the_coordinators"]
    assert "object is not JSON serializable" in agenda.records.pop("unwritten")["reason"], "and not want of memory"
    assert {key: record.get("reason", record["status"]) for key, record in agenda.records.items()} == {
        "once": "finished",
        "plain": "finished",
        "after": "finished",
        "exits": "the training exited with code 3",
        "pruned": "pruned",
    }
    assert agenda.records["once"]["from"] == 1, "gone on with"
    for name in ("once", "plain", "after"):
        assert steps_of(log, name) == [0, 1, 2], f"{name}: no step twice"
    assert len(list(log.glob("after-died-*"))) == 1
    assert "OPENBLAS_NUM_THREADS" not in os.environ, "ours is as it was"
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, []), "and hears Ctrl-C"


COORDINATOR = """
import io, sys
from pathlib import Path
from rich.console import Console
from work_cases import Listed, Steps
from matcard.work.cluster import cluster_at
from matcard.work.conduct import Interruption, conduct

if __name__ == "__main__":
    folder = Path(sys.argv[2])
    agenda = Listed({name: Steps(folder / "log", name) for name in sys.argv[3:]})
    with Interruption() as interruption, cluster_at(sys.argv[1], folder, Console(file=io.StringIO())) as pool:
        conduct(agenda, lambda: pool, folder / "running", interruption)
"""


def test_a_coordinator_is_killed_and_the_next_goes_on_with_the_same_workers(tmp_path):
    log = tmp_path / "log"
    log.mkdir()
    names = list("abcdef")
    (log / "b-waits").touch()
    script = tmp_path / "coordinator.py"
    script.write_text(COORDINATOR)
    with running_cluster(tmp_path, workers=4) as scheduler:
        here = Path(__file__).parent
        path = os.pathsep.join([str(here), str(here.parent), os.environ.get("PYTHONPATH", "")])
        first = subprocess.Popen(
            [sys.executable, script, scheduler, tmp_path, *names], env={**os.environ, "PYTHONPATH": path}
        )
        try:
            wait_for(lambda: all(len(steps_of(log, name)) == 3 for name in "acdef"))
            wait_for(lambda: (tmp_path / "running/b/1").is_dir())
        finally:
            first.kill()
            first.wait()
        assert steps_of(log, "b") == [], "it is at work all the same"
        agenda = Listed({name: Steps(log, name) for name in "bcg"})
        with Interruption() as interruption, cluster_at(scheduler, tmp_path, Console(file=io.StringIO())) as pool:
            wait_for(lambda: (tmp_path / "running/b/1/.stopped").exists())
            (log / "b-waits").unlink()
            conduct(agenda, lambda: pool, tmp_path / "running", interruption)
            wait_for(lambda: pool.room() == 4)  # the one that was at work is free
        assert {record["status"] for record in agenda.records.values()} == {"finished"}
        assert steps_of(log, "b") == steps_of(log, "g") == [0, 1, 2]
        unseen = pytest.raises(InputError, match=r"worker tcp://.* does not see .*: all machines must share")
        with cluster_at(scheduler, tmp_path, Console(file=io.StringIO())) as pool, unseen:
            (tmp_path / HOLDER).write_text("another, in a folder of the same name on another machine")
            wait_for(lambda: pool.room() == 4)


def test_a_scheduler_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"--scheduler nowhere\.json: no such file"):
        cluster_at("nowhere.json", tmp_path, Console()).__enter__()


class Closed:
    """A client that has given up."""

    def __init__(self, error):
        self.error = error

    def subscribe_topic(self, *_):
        pass

    def nthreads(self):
        raise self.error

    def run(self, *_, **__):
        raise self.error


class Workers(Closed):
    """A client of workers that come and go: those that there are at each look, and what each has against the folder."""

    def __init__(self, *looks, status="finished", error=None):
        self.looks = list(looks)
        self.found = SimpleNamespace(status=status, exception=lambda: error, add_done_callback=lambda _: None)

    def nthreads(self):
        return dict.fromkeys(self.looks.pop(0) if len(self.looks) > 1 else self.looks[0], 1)

    def submit(self, *_, **__):
        return self.found


def test_the_only_worker_dies_before_it_is_given_what_it_had_room_for(tmp_path):
    pool = Cluster(Workers(["tcp://a"], []), tmp_path, Console(file=io.StringIO()), grows=True)
    assert pool.room() == 1
    assert not pool.submit(Exits(), tmp_path / "running/a/1")
    assert pool.room() == 0


def test_workers_of_this_machine_that_do_not_come_back_end_the_command(tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "START", 0)
    pool = Cluster(Workers(["tcp://a"], []), tmp_path, Console(file=io.StringIO()), grows=False)
    assert [pool.room(), pool.room()] == [1, 0]
    with pytest.raises(TrainingError, match="all workers died, and none began again"):
        pool.room()
    pool = Cluster(Workers([]), tmp_path, Console(file=io.StringIO()), grows=True)
    assert [pool.room() for _ in range(3)] == [0] * 3, "others may come"


def test_a_worker_is_given_nothing_before_it_has_seen_the_folder_and_written_to_it(tmp_path, monkeypatch):
    pool = Cluster(Workers(["tcp://a"], status="pending"), tmp_path, Console(file=io.StringIO()), grows=True)
    assert pool.room() == 0, "nobody waits for a new one"
    client = Workers(["tcp://a"], status="lost")
    pool = Cluster(client, tmp_path, Console(file=io.StringIO()), grows=True)
    assert pool.room() == 0
    client.found = SimpleNamespace(status="finished")
    assert pool.room() == 1, "looked at again after a lost connection"
    cluster.look(tmp_path, "me")
    for folder, note in ((tmp_path, "another"), (tmp_path / "none", "me")):
        with pytest.raises(InputError, match="does not see"):
            cluster.look(folder, note)

    def refuse(**_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(cluster, "NamedTemporaryFile", refuse)  # a user who is root may write everywhere
    with pytest.raises(InputError, match="cannot write") as refused:
        cluster.look(tmp_path, "me")
    for error, said in (
        (refused.value, r"worker tcp://a cannot write \(Permission denied\) to .*, and write to it"),
        (ModuleNotFoundError("No module named 'matcard'"), r"worker tcp://a cannot run matcard \(No module"),
    ):
        pool = Cluster(Workers(["tcp://a"], status="error", error=error), tmp_path, Console(), grows=True)
        with pytest.raises(InputError, match=said):
            pool.room()


def test_who_gets_no_answer_in_time_asks_on_without_waiting(tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "ANSWER", 0.01)
    monkeypatch.setattr(cluster, "get_worker", lambda: SimpleNamespace(log_event=lambda *_: None))
    line = cluster.DaskWire("name", tmp_path, "topic")
    assert line.ask("first") is None
    line.answers.put(True)
    assert line.ask("second") is True, "the answer to the first, which came late"
    line.answers.put(False)
    assert line.ask("third") is False


@pytest.mark.parametrize(
    "error",
    [RuntimeError("ConnectionPool is closed"), AttributeError("'NoneType' object has no attribute 'ncores'")],
)
def test_a_scheduler_that_went_away_is_told_in_words(tmp_path, error):
    pool = Cluster(Closed(error), tmp_path, Console(file=io.StringIO()), grows=True)
    assert [pool.room() for _ in range(GONE - 1)] == [0] * (GONE - 1), "it may come back"
    with pytest.raises(TrainingError, match="the scheduler does not answer any more"):
        pool.room()
    pool.close()


def test_more_workers_than_gpus_take_them_in_turn(monkeypatch):
    assert [gpu_of(i, ["0", "1"])["CUDA_VISIBLE_DEVICES"] for i in range(3)] == ["0", "1", "0"]
    assert gpu_of(0, []) == {}
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert threads_of(2)["OMP_NUM_THREADS"] == "7", "what the user has set stays"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-a, MIG-b")
    assert visible_gpus() == ["GPU-a", "MIG-b"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert visible_gpus() == []
