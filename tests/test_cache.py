from __future__ import annotations

import contextlib
import os
import threading
import warnings

import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from matcard import cache
from matcard.cache import FilesState, cache_dir, chosen_cache, code_digest, read_frame, write_frame
from matcard.errors import MatcardWarning
from matcard.files import locked, written_whole


def test_the_environment_names_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MATCARD_CACHE", str(tmp_path / "a" / "b"))
    assert cache_dir() == tmp_path / "a" / "b"
    assert cache_dir().is_dir()
    assert not list(cache_dir().iterdir())


def test_without_it_the_users_cache_folder_is_taken(tmp_path, monkeypatch):
    monkeypatch.delenv("MATCARD_CACHE", raising=False)
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda name: str(tmp_path / name))
    assert cache_dir() == tmp_path / "matcard"


def test_the_chosen_cache_is_named_without_being_made(tmp_path, monkeypatch):
    monkeypatch.setenv("MATCARD_CACHE", str(tmp_path / "a"))
    assert chosen_cache() == tmp_path / "a"
    assert not chosen_cache().exists()
    monkeypatch.setenv("MATCARD_CACHE", "")
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda name: str(tmp_path / name))
    assert chosen_cache() == tmp_path / "matcard"


def test_a_cache_that_cannot_be_written_gives_one_temporary_folder(tmp_path, monkeypatch):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    monkeypatch.setenv("MATCARD_CACHE", str(blocked / "cache"))
    folders = set()
    for _ in range(2):
        with pytest.warns(MatcardWarning, match=r"cannot be written.*MATCARD_CACHE"):
            folders.add(cache_dir())
    (folder,) = folders
    assert folder.is_dir()
    assert tmp_path not in folder.parents
    folder.rmdir()
    cache._temporary.cache_clear()


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_read_only_cache_gives_a_temporary_folder(tmp_path, monkeypatch):
    tmp_path.chmod(0o500)
    monkeypatch.setenv("MATCARD_CACHE", str(tmp_path))
    with pytest.warns(MatcardWarning, match="cannot be written"):
        assert cache_dir() != tmp_path
    cache._temporary.cache_clear()


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "deep" / "file.txt"
    with written_whole(path) as beside:
        assert (beside.parent, beside.suffix) == (path.parent, ".txt")
        beside.write_text("first")
        assert not path.exists()
    assert path.read_text() == "first"
    with contextlib.suppress(RuntimeError), written_whole(path) as beside:
        beside.write_text("half")
        raise RuntimeError
    assert path.read_text() == "first"
    assert [p.name for p in path.parent.iterdir()] == ["file.txt"]


def test_a_writable_cache_is_taken_without_a_word(tmp_path, monkeypatch):
    monkeypatch.setenv("MATCARD_CACHE", str(tmp_path))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert cache_dir() == tmp_path


def test_one_at_a_time_makes_a_file_and_the_others_say_that_they_wait(tmp_path, warned):
    done = []

    def make():
        with locked(tmp_path / "made", "makes it"):
            done.append("second")

    second = threading.Thread(target=make)
    with locked(tmp_path / "made", "makes it"):
        assert "another process that makes it (it holds the lock" in warned(second)
        done.append("first")
    second.join(60)
    assert done == ["first", "second"]


def test_code_is_told_apart_by_its_text_and_by_the_versions_of_libraries(tmp_path):
    (tmp_path / "a.py").write_text("x = 1")
    found = {code_digest([tmp_path / "a.py"], ()), code_digest([tmp_path / "a.py"], ("numpy",))}
    assert code_digest([tmp_path / "a.py"], ("no-such-distribution",)) in found
    (tmp_path / "a.py").write_text("x = 2")
    assert len({*found, code_digest([tmp_path / "a.py"], ())}) == 3


def test_a_digest_is_remembered_once_the_file_has_settled(tmp_path, monkeypatch):
    memory, file = tmp_path / "memory", tmp_path / "t.csv"
    file.write_text("a,1\n")
    first = FilesState([file], memory).digest()
    assert not memory.exists()
    monkeypatch.setattr(cache, "_SETTLED_NS", -1)
    assert FilesState([file], memory).digest() == first
    (note,) = memory.iterdir()
    note.write_text("remembered")
    assert FilesState([file], memory).digest() == "remembered"
    file.write_text("a,12\n")
    assert FilesState([file], memory).digest() not in (first, "remembered")


CELLS = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=3)


@settings(deadline=None, max_examples=60)
@example(rows=[(0, 0.0)], names=["", ""])
@given(rows=st.lists(st.tuples(CELLS, CELLS), max_size=5), names=st.lists(st.text(max_size=3), min_size=2, max_size=2))
def test_frames_of_any_objects_come_back(rows, names, tmp_path_factory):
    path = tmp_path_factory.mktemp("frames") / "frame.parquet"
    frame = pd.DataFrame(rows, columns=names, index=range(len(rows)), dtype=object)
    write_frame(frame, path)
    back = read_frame(path)
    assert list(back.columns) == names
    # By columns: as one array pandas would make whole numbers of one column floats beside those of another.
    for k in range(len(names)):
        for one, other in zip(frame.iloc[:, k].tolist(), back.iloc[:, k].tolist(), strict=True):
            assert (one is None and pd.isna(other)) or (one == other and isinstance(other, type(one)))
