"""Studies behind servers: PostgreSQL, Optuna's gRPC proxy before it, and the dashboard on a journal file."""

from __future__ import annotations

import gc
import json
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import threading
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import optuna
import pytest
from optuna.trial import TrialState
from study_cases import NAME, KilledOnce, Quadratic, finished, free_port, make_study, new_study, stored, tpe, wait_for

from matcard.errors import InputError
from matcard.study.storage import opening
from matcard.study.storage.opening import close_storage, open_storage, storage_opened
from matcard.study.workers.liveness import BEAT, WORKER
from matcard.study.workers.queue import DIED, FAILURE, RETRY_OF
from matcard.study.workers.run import run_trials
from matcard.work.life import Heartbeat

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PASSWORD = "p@ss{w}ord"
QUOTED = "p%40ss%7Bw%7Dord"


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


def postgres_folder() -> Path:
    """Find PostgreSQL's server programs, which Debian does not put on the path."""
    found = shutil.which("initdb")
    folders = [Path(found).resolve().parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not folders or not (folders[-1] / "postgres").is_file():
        pytest.skip("PostgreSQL's server is not installed (apt install postgresql)")
    return folders[-1]


def unprivileged() -> dict[str, object]:
    """Give the user to start the server as: it refuses root."""
    if os.geteuid() != 0:
        return {}
    names = {entry.pw_name for entry in pwd.getpwall()}
    return {"user": "postgres" if "postgres" in names else "nobody", "extra_groups": []}


@pytest.fixture(scope="module")
def server() -> Iterator[int]:
    """A PostgreSQL of its own on loopback; gives its port."""
    programs = postgres_folder()
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    user = unprivileged()
    folder = Path(tempfile.mkdtemp(prefix="matcard-postgres-"))
    process = None
    try:
        if user:
            shutil.chown(folder, str(user["user"]))
        secret = folder / "secret"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        data = folder / "data"
        subprocess.run(
            [programs / "initdb", "-D", data, "-U", "matcard", "-A", "scram-sha-256", "--pwfile", secret, "--no-sync"],
            check=True,
            capture_output=True,
            cwd=folder,
            **user,
        )
        port = free_port()
        options = ["listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off", "shared_buffers=16MB"]
        process = subprocess.Popen(
            [programs / "postgres", "-D", data, "-p", str(port), *(word for o in options for word in ("-c", o))],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=folder,
            **user,
        )
        wait_for(lambda: answers(port), 30)
        yield port
    finally:
        if process is not None:
            process.terminate()
            process.wait(30)
        shutil.rmtree(folder)


def connect(port: int) -> object:
    import psycopg

    return psycopg.connect(
        host="127.0.0.1", port=port, user="matcard", password=PASSWORD, dbname="postgres", autocommit=True
    )


def answers(port: int) -> bool:
    import psycopg

    try:
        connect(port).close()
    except psycopg.OperationalError:
        return False
    return True


@pytest.fixture
def new_database(server: int) -> Callable[[str], str]:
    """Make an empty database and give its url."""

    def make(name: str) -> str:
        with connect(server) as connection:
            connection.execute(f"create database {name}")
        return f"postgresql://matcard:{QUOTED}@127.0.0.1:{server}/{name}"

    return make


def test_four_processes_of_which_one_is_killed_finish_exactly_so_many_in_postgresql(
    tmp_path: Path, new_database: Callable[[str], str]
) -> None:
    url = new_database("four")
    make_study(tmp_path, url)
    summary = run_trials(NAME, KilledOnce(number=3), tpe, url=url, folder=tmp_path, total=8, jobs=4)
    trials = stored(tmp_path, url)
    assert (summary.finished, summary.failed, summary.stopped) == (8, 1, "done")
    assert [trial.number for trial in trials] == list(range(9))
    assert [trial.number for trial in trials if trial.state != TrialState.COMPLETE] == [3]
    assert trials[3].user_attrs[FAILURE] == DIED
    assert [trial.params for trial in trials if trial.user_attrs.get(RETRY_OF) == 3] == [trials[3].params]
    assert len({trial.params["x"] for trial in trials}) == 8


# Optuna cannot be told to close the connection of an attempt that failed; catching warnings is no matter for threads.
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::optuna.exceptions.ExperimentalWarning")
def test_workers_that_start_together_make_the_tables_once(tmp_path: Path, new_database: Callable[[str], str]) -> None:
    url = new_database("together")
    barrier = threading.Barrier(4)
    errors: list[BaseException] = []

    def open_with_the_others() -> None:
        barrier.wait()
        try:
            close_storage(open_storage(url, tmp_path))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=open_with_the_others) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    gc.collect()
    assert errors == []


def test_postgresqls_refusals_are_said_without_the_password(tmp_path: Path, server: int) -> None:
    with pytest.raises(InputError, match="authentication failed") as error:
        open_storage(f"postgresql://matcard:wr0ng@127.0.0.1:{server}/postgres", tmp_path)
    assert "wr0ng" not in str(error.value)
    with pytest.raises(InputError, match='database "nowhere" does not exist'):
        open_storage(f"postgresql://matcard:{QUOTED}@127.0.0.1:{server}/nowhere", tmp_path)


PROXY = """
import sys
from optuna.storages import get_storage, run_grpc_proxy_server
run_grpc_proxy_server(get_storage(sys.argv[1]), host="127.0.0.1", port=int(sys.argv[2]))
"""


def test_workers_behind_the_proxy_find_a_dead_one_by_its_marks(
    tmp_path: Path, new_database: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("grpc", reason="grpcio is not installed")
    monkeypatch.setattr(opening, "CONNECT", 60)  # the proxy has yet to start
    url = new_database("proxied").replace("postgresql://", "postgresql+psycopg://")
    port = free_port()
    with subprocess.Popen([sys.executable, "-W", "ignore", "-c", PROXY, url, str(port)]) as proxy:
        try:
            grpc_url = f"grpc://127.0.0.1:{port}"
            with storage_opened(grpc_url, tmp_path) as storage:
                dead = optuna.create_study(storage=storage, study_name=NAME).ask()
                x = dead.suggest_float("x", -1.0, 1.0)
                worker = {"host": "node7", "machine": "another", "pid": 1, "started": 1}
                storage.set_trial_system_attr(dead._trial_id, WORKER, worker)
                storage.set_trial_system_attr(dead._trial_id, BEAT, 4)
            summary = run_trials(
                NAME,
                Quadratic(nap=0.05),
                tpe,
                url=grpc_url,
                folder=tmp_path,
                total=6,
                jobs=2,
                heartbeat=Heartbeat(interval=1, grace=2),
            )
            trials = stored(tmp_path, grpc_url)
        finally:
            proxy.terminate()
    assert summary.finished == len(finished(trials)) == 6
    assert trials[0].user_attrs[FAILURE] == DIED
    assert [t.params for t in trials if t.user_attrs.get(RETRY_OF) == 0] == [{"x": x}]


def test_the_dashboard_lists_a_study_in_a_journal_file(tmp_path: Path) -> None:
    pytest.importorskip("optuna_dashboard", reason="optuna-dashboard is not installed")
    new_study(tmp_path)
    run_trials(NAME, Quadratic(), tpe, url=None, folder=tmp_path, total=3)
    port = free_port()
    program = Path(sys.executable).with_name("optuna-dashboard")
    command = [program, str(tmp_path / "journal.log"), "--host", "127.0.0.1", "--port", str(port)]
    dashboard = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: page(port, "/api/studies") is not None)
        (listed,) = page(port, "/api/studies")["study_summaries"]
        assert listed["study_name"] == NAME
        trials = page(port, f"/api/studies/{listed['study_id']}?after=0")["trials"]
        assert [trial["state"] for trial in trials] == ["Complete"] * 3
    finally:
        dashboard.terminate()
        dashboard.wait(30)


def page(port: int, path: str) -> dict[str, list[dict[str, str]]] | None:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return json.load(answer)
    except OSError:
        return None
