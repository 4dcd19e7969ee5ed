"""Storages open or say what to do, keep passwords to themselves, and journal files survive kills."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
import uuid
from typing import TYPE_CHECKING, Any

import optuna
import pytest
from optuna.storages import JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileSymlinkLock
from optuna.trial import TrialState
from study_cases import NAME, new_study, stored

from matcard.errors import InputError
from matcard.study.storage import database, journal, opening
from matcard.study.storage.journal import JournalLock, cut_half_record
from matcard.study.storage.opening import hidden, open_storage
from matcard.work.life import Heartbeat, this_process

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "s3cret"


def test_the_default_is_a_journal_file_in_the_study_directory(tmp_path: Path) -> None:
    assert isinstance(open_storage(None, tmp_path / "new" / "folder"), JournalStorage)
    assert (tmp_path / "new" / "folder" / "journal.log").is_file()


def test_a_journal_may_stand_elsewhere(tmp_path: Path) -> None:
    url = f"journal://{tmp_path}/here.log"
    new_study(tmp_path, url)
    assert (tmp_path / "here.log").stat().st_size
    assert not (tmp_path / "journal.log").exists()
    assert stored(tmp_path, url) == []


def test_a_relative_journal_is_found_again_from_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    study = optuna.create_study(storage=open_storage("journal://here.log", tmp_path), study_name=NAME)
    monkeypatch.chdir(tmp_path / "elsewhere")
    study.set_user_attr("written", value=True)
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_sqlite_opens_with_heartbeat(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/studies.db"
    opened = open_storage(url, tmp_path, Heartbeat(interval=3, grace=7))
    backend = opened._backend
    assert isinstance(backend, RDBStorage)
    assert (backend.heartbeat_interval, backend.grace_period) == (3, 7)
    new_study(tmp_path, url)
    assert stored(tmp_path, url) == []


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("studies", "expected a url such as journal:///path"),
        ("journal://", "expected a url such as"),
        ("journals:///x", "did you mean journal"),
        (f"postgressql://me:{SECRET}@host/studies", "did you mean postgresql"),
        (f"postgresql://me:{SECRET}@host:port/studies", "expected postgresql://user:password@host:port/database"),
        (f"postgresql://me@host/studies?password={SECRET}", "put the password before the host"),
        (f"postgresql+psycopgg://me:{SECRET}@host/studies", "leave +psycopgg out"),
        (f"mysql+mysqlclientt://me:{SECRET}@host/studies", "leave +mysqlclientt out"),
        ("sqlite:///:memory:", "names no file"),
        ("sqlite:////no/such/folder/x.db", "unable to open database file"),
        ("grpc://host:port", "expected grpc://host:port"),
        (f"grpc://me:{SECRET}@host:1", "expected grpc://host:port and nothing else"),
    ],
)
def test_what_cannot_be_opened_is_said_without_the_password(tmp_path: Path, url: str, says: str) -> None:
    with pytest.raises(InputError) as error:
        open_storage(url, tmp_path)
    assert says in str(error.value)
    assert "--storage" in str(error.value)
    assert SECRET not in str(error.value)


@pytest.mark.parametrize("name", ["postgresql", "mysql"])
def test_an_unreachable_server_is_said_without_the_password(tmp_path: Path, name: str) -> None:
    pytest.importorskip({"postgresql": "psycopg", "mysql": "pymysql"}[name], reason="its driver is not installed")
    with pytest.raises(InputError, match="look whether the server runs") as error:
        # Braces, which Optuna takes for a template, and a sign that urls quote.
        open_storage(f"{name}://me:{SECRET}%40{{x}}@127.0.0.1:9/studies", tmp_path)
    assert SECRET not in str(error.value)
    assert "me:***@127.0.0.1:9" in str(error.value)


@pytest.mark.parametrize(
    ("url", "package"),
    [("postgresql://h/s", "psycopg[binary]"), ("postgres://h/s", "psycopg[binary]"), ("mysql://h/s", "PyMySQL")],
)
def test_a_missing_driver_names_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, package: str
) -> None:
    for module in ("psycopg", "pymysql"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(InputError) as error:
        open_storage(url, tmp_path)
    assert f"pip install '{package}'" in str(error.value)


def test_a_proxy_needs_its_package_and_a_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "find_spec", lambda _: None)
    with pytest.raises(InputError, match="pip install grpcio"):
        open_storage("grpc://localhost:9", tmp_path)
    monkeypatch.undo()
    pytest.importorskip("grpc", reason="grpcio is not installed")
    monkeypatch.setattr(opening, "CONNECT", 0.2)
    with pytest.raises(InputError, match=r"no server answers at 127\.0\.0\.1:9"):
        open_storage("grpc://127.0.0.1:9", tmp_path)


@pytest.mark.parametrize(
    "text", ["once upon a time\nthere was\n", "[1, 2]\n[3]\n", '{"op_code": 99, "worker_id": "a"}\n{}\n']
)
def test_another_file_is_no_journal_and_stays_as_it_is(tmp_path: Path, text: str) -> None:
    path = tmp_path / "journal.log"
    path.write_text(text)
    with pytest.raises(InputError, match="is no journal of an Optuna study"):
        open_storage(None, tmp_path)
    assert path.read_text() == text


def test_the_damaged_line_of_a_journal_is_named(tmp_path: Path) -> None:
    optuna.create_study(storage=open_storage(None, tmp_path), study_name="a")
    path = tmp_path / "journal.log"
    path.write_text(path.read_text() + '{"op_code": gar\n' + path.read_text())
    damaged = 1 + len(path.read_text().splitlines()) // 2
    with pytest.raises(InputError, match=f"line {damaged} is no record"):
        open_storage(None, tmp_path)


def test_a_folder_is_no_journal(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be used"):
        open_storage(f"journal://{tmp_path}", tmp_path)


def test_urls_are_shown_without_the_password() -> None:
    assert hidden(f"postgresql://me:{SECRET}@host:5/studies") == "postgresql+psycopg://me:***@host:5/studies"
    assert hidden("journal:///a/b.log") == "journal:///a/b.log"
    assert hidden("grpc://host:1") == "grpc://host:1"


@pytest.mark.parametrize(
    ("before", "after"), [(b"", b""), (b"a\n", b"a\n"), (b"a\nhal", b"a\n"), (b"hal", b""), (b"a\n\xff\xc3", b"a\n")]
)
def test_half_a_record_is_cut_off(tmp_path: Path, before: bytes, after: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(before)
    cut_half_record(path)
    assert path.read_bytes() == after


def test_a_journal_goes_on_after_a_writer_was_killed_in_the_middle(tmp_path: Path) -> None:
    study = new_study(tmp_path)
    study.add_trial(optuna.create_trial(value=1.0))
    with (tmp_path / "journal.log").open("ab") as file:
        file.write(b'{"op_code":4,"study_id":0,"sta')
    assert len(stored(tmp_path)) == 1, "readers take it for a record that is being written"
    study.add_trial(optuna.create_trial(value=2.0))
    assert [trial.value for trial in stored(tmp_path)] == [1.0, 2.0]


@pytest.fixture
def lock(tmp_path: Path) -> JournalLock:
    (tmp_path / "journal.log").touch()
    return JournalLock(tmp_path / "journal.log")


def test_the_lock_is_held_and_given_back(tmp_path: Path, lock: JournalLock) -> None:
    lock.acquire()
    assert (tmp_path / "journal.log.lock").is_symlink()
    lock.release()
    assert [path.name for path in tmp_path.iterdir()] == ["journal.log"]


def test_the_lock_is_not_kept_when_the_journal_is_gone(tmp_path: Path, lock: JournalLock) -> None:
    (tmp_path / "journal.log").unlink()
    with pytest.raises(FileNotFoundError):
        lock.acquire()
    assert list(tmp_path.iterdir()) == []


def test_one_at_a_time_holds_the_lock(tmp_path: Path, lock: JournalLock) -> None:
    inside: list[int] = []
    most: list[int] = []

    def hold() -> None:
        own = JournalLock(tmp_path / "journal.log")
        for _ in range(20):
            own.acquire()
            inside.append(1)
            most.append(len(inside))
            inside.pop()
            own.release()

    threads = [threading.Thread(target=hold) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(most) == 80
    assert max(most) == 1


def left_by(folder: Path, **holder: object) -> Path:
    link = folder / "journal.log.lock"
    link.symlink_to(json.dumps(this_process() | {"token": "t"} | holder))
    return link


def test_the_lock_of_a_dead_process_is_broken_at_once(tmp_path: Path, lock: JournalLock) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    left_by(tmp_path, pid=ended.pid, started=1)
    begun = time.monotonic()
    lock.acquire()
    assert time.monotonic() - begun < journal.STALE / 2
    lock.release()
    assert [path.name for path in tmp_path.iterdir()] == ["journal.log"]


@pytest.mark.parametrize("half_broken", [False, True])
def test_the_lock_of_another_machine_is_broken_when_it_is_stale(
    tmp_path: Path, lock: JournalLock, monkeypatch: pytest.MonkeyPatch, half_broken: bool
) -> None:
    link = left_by(tmp_path, machine="another")
    if half_broken:  # by one who was killed at it
        name = uuid.uuid5(uuid.NAMESPACE_URL, str(link.readlink())).hex
        (tmp_path / f"journal.log.lock.{name}").symlink_to("x")
    monkeypatch.setattr(journal, "STALE", 0.2)
    begun = time.monotonic()
    lock.acquire()
    assert time.monotonic() - begun > 0.2
    assert json.loads(str(link.readlink()))["pid"] == os.getpid()
    lock.release()
    assert [path.name for path in tmp_path.iterdir()] == ["journal.log"]


def test_a_lock_that_others_have_taken_meanwhile_is_not_broken(tmp_path: Path, lock: JournalLock) -> None:
    link = left_by(tmp_path, token="new")
    lock._break(json.dumps({"token": "old"}))
    assert link.is_symlink()


def test_optunas_own_lock_and_ours_are_one(tmp_path: Path, lock: JournalLock) -> None:
    """The dashboard writes to the same file by Optuna's lock."""
    theirs = JournalFileSymlinkLock(str(tmp_path / "journal.log"))
    theirs.acquire()
    waiting = threading.Thread(target=lock.acquire)
    waiting.start()
    waiting.join(0.2)
    assert waiting.is_alive()
    theirs.release()
    waiting.join(30)
    assert json.loads(str((tmp_path / "journal.log.lock").readlink()))["pid"] == os.getpid()
    waiting = threading.Thread(target=theirs.acquire)
    waiting.start()
    waiting.join(0.2)
    assert waiting.is_alive()
    lock.release()
    waiting.join(30)
    theirs.release()


def test_tables_that_others_are_making_are_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sqlalchemy.exc

    attempts = []

    def others_first(*arguments: Any, **options: Any) -> RDBStorage:
        attempts.append(1)
        if len(attempts) < 3:
            raise sqlalchemy.exc.ProgrammingError("CREATE", {}, Exception('relation "studies" already exists'))
        return RDBStorage(*arguments, **options)

    monkeypatch.setattr(database, "RDBStorage", others_first)
    monkeypatch.setattr(time, "sleep", lambda _: None)
    open_storage(f"sqlite:///{tmp_path}/studies.db", tmp_path)
    assert len(attempts) == 3


def test_a_trial_of_a_dead_worker_is_put_back_by_optunas_heartbeat(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/studies.db"
    opened = open_storage(url, tmp_path, Heartbeat(interval=1, grace=2))
    study = optuna.create_study(storage=opened, study_name=NAME)
    trial_id = opened.create_new_trial(opened.get_study_id_from_name(NAME))
    opened.set_trial_param(trial_id, "x", 0.5, optuna.distributions.FloatDistribution(0, 1))
    opened.record_heartbeat(trial_id)
    with opened._backend.engine.begin() as connection:
        connection.exec_driver_sql("update trial_heartbeats set heartbeat = datetime('now', '-1 hour')")
    with pytest.warns(optuna.exceptions.ExperimentalWarning):
        optuna.storages.fail_stale_trials(study)
    assert [(t.state, t.params) for t in study.trials] == [
        (TrialState.FAIL, {"x": 0.5}),
        (TrialState.WAITING, {"x": 0.5}),
    ]
