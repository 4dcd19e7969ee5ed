"""Studies behind servers: PostgreSQL, and the dashboard on a journal file."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import optuna
import pytest
from clusters import wait_for
from study_cases import NAME, Plays, free_port, new_study, trials_of

from matcard.errors import InputError
from matcard.study.storage import open_storage
from matcard.work.conduct import Interruption, conduct
from matcard.work.pool import Inline

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


def test_a_study_in_postgresql_goes_on(tmp_path: Path, new_database: Callable[[str], str]) -> None:
    url = new_database("studies")
    (tmp_path / "log").mkdir()
    for total in (2, 4):
        study = new_study(tmp_path, url, sampler=optuna.samplers.RandomSampler(total))
        with (
            trials_of(study, tmp_path, lambda config: Plays(config.optimizer.lr, tmp_path / "log"), total) as agenda,
            Interruption() as interruption,
        ):
            conduct(agenda, cache(partial(Inline, interruption)), tmp_path / "running", interruption)
            assert [trial.state.name for trial in agenda.trials] == ["COMPLETE"] * total
    assert len(list((tmp_path / "log").iterdir())) == 4


def test_postgresqls_refusals_are_said_without_the_password(tmp_path: Path, server: int) -> None:
    with pytest.raises(InputError, match="authentication failed") as error:
        open_storage(f"postgresql://matcard:wr0ng@127.0.0.1:{server}/postgres", tmp_path)
    assert "wr0ng" not in str(error.value)
    with pytest.raises(InputError, match='database "nowhere" does not exist'):
        open_storage(f"postgresql://matcard:{QUOTED}@127.0.0.1:{server}/nowhere", tmp_path)


def test_the_dashboard_lists_a_study_in_a_journal_file(tmp_path: Path) -> None:
    pytest.importorskip("optuna_dashboard", reason="optuna-dashboard is not installed")
    study = new_study(tmp_path)
    for value in range(3):
        study.add_trial(optuna.create_trial(value=value))
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
