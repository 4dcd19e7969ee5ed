"""Storages open or say what to do, keep passwords to themselves, and journal files survive kills."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import optuna
import pytest
from optuna.storages import JournalStorage
from study_cases import NAME, new_study

from matcard.errors import InputError
from matcard.study.storage import close_storage, cut_half_record, open_storage, parse_url

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "s3cret"


def test_the_default_is_a_journal_file_in_the_study_directory(tmp_path: Path) -> None:
    assert isinstance(open_storage(None, tmp_path), JournalStorage)
    assert (tmp_path / "journal.log").is_file()


def test_a_study_in_a_file_of_sqlite_is_found_again(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/studies.db"
    study = new_study(tmp_path, url)
    study.add_trial(optuna.create_trial(value=1.0))
    close_storage(study._storage)
    storage = open_storage(url, tmp_path)
    assert [trial.value for trial in optuna.load_study(study_name=NAME, storage=storage).trials] == [1.0]
    close_storage(storage)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("studies", "expected postgresql://user:password@host:port/database"),
        (f"postgresql://me:{SECRET}@host:port/studies", "expected postgresql://user:password@host:port/database"),
        (f"postgresql://me@host/studies?password={SECRET}", "put the password before the host"),
        (f"postgressql://me:{SECRET}@host/studies", "no driver postgressql"),
        (f"mysql+mysqlclientt://me:{SECRET}@host/studies", "no driver mysql+mysqlclientt"),
        ("sqlite:///:memory:", "names no file"),
        ("sqlite:////no/such/folder/x.db", "unable to open database file"),
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


@pytest.mark.parametrize("url", ["postgresql://h/s", "mysql://h/s"])
def test_a_missing_driver_names_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    for module in ("psycopg", "pymysql"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(InputError, match=r"pip install -e '\.\[database\]'"):
        open_storage(url, tmp_path)


@pytest.mark.parametrize(
    "text", ["once upon a time\nthere was\n", "[1, 2]\n[3]\n", '{"op_code": 99, "worker_id": "a"}\n{}\n']
)
def test_another_file_is_no_journal_and_stays_as_it_is(tmp_path: Path, text: str) -> None:
    path = tmp_path / "journal.log"
    path.write_text(text)
    with pytest.raises(InputError, match="is no journal of an Optuna study"):
        open_storage(None, tmp_path)
    assert path.read_text() == text


def test_a_folder_is_no_journal(tmp_path: Path) -> None:
    (tmp_path / "journal.log").mkdir()
    with pytest.raises(InputError, match="cannot be used"):
        open_storage(None, tmp_path)


def test_urls_are_shown_without_the_password() -> None:
    url = parse_url(f"postgresql://me:{SECRET}@host:5/studies")
    assert url.render_as_string() == "postgresql+psycopg://me:***@host:5/studies"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"", b""),
        (b"{a\n", b"{a\n"),
        (b"{a\nhal", b"{a\n"),
        (b"{hal", b""),
        (b"{a\n\xff\xc3", b"{a\n"),
        (b"no journal", b"no journal"),
    ],
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
    (tmp_path / "journal.log.lock").symlink_to("journal.log")
    again = new_study(tmp_path)
    again.add_trial(optuna.create_trial(value=2.0))
    assert [trial.value for trial in new_study(tmp_path).trials] == [1.0, 2.0]
