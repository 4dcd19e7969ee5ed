from __future__ import annotations

import contextlib
import threading
import warnings

import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from matcard.cache import cache_dir, code_digest, kept, read_frame, write_frame
from matcard.errors import InputError
from matcard.files import locked, written_whole


def test_the_environment_names_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MATCARD_CACHE", str(tmp_path / "a" / "b"))
    assert cache_dir() == tmp_path / "a" / "b"
    assert not cache_dir().exists()


@pytest.mark.parametrize("named", [None, ""])
def test_without_it_the_users_cache_folder_is_taken(tmp_path, monkeypatch, named):
    monkeypatch.delenv("MATCARD_CACHE", raising=False)
    if named is not None:
        monkeypatch.setenv("MATCARD_CACHE", named)
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda name: str(tmp_path / name))
    assert cache_dir() == tmp_path / "matcard"


def test_a_cache_that_cannot_be_written_is_read_and_else_refused(tmp_path, monkeypatch):
    def build(folder):
        (folder / "a.txt").write_text("a")
        return {"known": 1}

    folder, noted = kept(tmp_path / "cache", "what decides", "some text", build)
    monkeypatch.setattr("pathlib.Path.mkdir", lambda *_, **__: (_ for _ in ()).throw(OSError(30, "Read-only")))
    assert kept(tmp_path / "cache", "what decides", "some text", build) == (folder, noted)
    with pytest.raises(InputError, match=r"cache folder .*cache cannot be used .*Read-only.* setting MATCARD_CACHE"):
        kept(tmp_path / "cache", "another", "some text", build)


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
