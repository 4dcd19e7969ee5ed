from __future__ import annotations

import io
import os
import pickle
import tarfile

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from pickle_cases import python2_pickle

from matcard.data.image_files import contents, load_pickle
from matcard.errors import InputError

FILES = {"a.txt": b"one", "deep/er/b.txt": b"two", "deep/empty": b""}


def make_tar(path, files=FILES, *more):
    with tarfile.open(path, f"w:{path.suffix.removeprefix('.').replace('tar', '')}") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
        for member in more:
            tar.addfile(member)
    return path


def read(archive):
    return dict(contents(archive, lambda name: True))


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz", "a.tar.bz2", "a.tar.xz"])
def test_files_are_read_as_they_are(tmp_path, name):
    archive = make_tar(tmp_path / name)
    assert read(archive) == FILES
    assert dict(contents(archive, lambda name: name.endswith(".txt"))).keys() == {"a.txt", "deep/er/b.txt"}
    assert [path.name for path in tmp_path.iterdir()] == [name], "nothing is unpacked"


@pytest.mark.parametrize("name", ["/etc/evil", "../evil", "a/../../evil", "..\\evil", "C:\\evil"])
def test_members_that_lead_out_are_read_and_written_nowhere(tmp_path, name):
    (tmp_path / "inside").mkdir()
    assert read(make_tar(tmp_path / "inside" / "a.tar", {name: b"evil"})) == {name: b"evil"}
    assert [path.name for path in tmp_path.iterdir()] == ["inside"]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_in_a_tar_are_passed_over(tmp_path, kind):
    member = tarfile.TarInfo("odd")
    member.type, member.linkname = kind, "/etc/passwd"
    assert read(make_tar(tmp_path / "a.tar", FILES, member)) == FILES


@pytest.mark.parametrize("name", ["a.tar.gz", "a.tar"])
@pytest.mark.parametrize("damage", ["cut", "other", "empty"])
def test_a_damaged_archive_is_said(tmp_path, name, damage):
    content = {"a": os.urandom(5000), "b": os.urandom(5000)}
    archive = make_tar(tmp_path / name, content)
    whole = archive.read_bytes()
    archive.write_bytes({"cut": whole[:4000], "other": b"<html>no</html>" * 50, "empty": b""}[damage])
    with pytest.raises(InputError, match=rf"{name} is no intact archive .*fetch it again"):
        read(archive)


def test_an_archive_that_is_not_there_is_the_callers_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "absent.tar")


HELD = {
    "data": np.arange(12, dtype=np.uint8).reshape(3, 4),
    "big": np.array([[1.5, -2.0]], dtype=">f8"),
    "labels": [1, 2, 3],
    "names": ["a", "ä"],
    "nested": {"x": (1, None, True, 2.5)},
}


@pytest.mark.parametrize("core", ["numpy.core", "numpy._core"])
def test_what_data_sets_hold_is_loaded_under_the_names_of_both_numpys(core):
    content = python2_pickle(HELD, core)
    assert f"c{core}.multiarray\n_reconstruct".encode() in content
    loaded = load_pickle(content, "batch")
    assert loaded.keys() == HELD.keys()
    for name in ("data", "big"):
        assert_array_equal(loaded[name], HELD[name])
        assert loaded[name].dtype == HELD[name].dtype.newbyteorder("=")
    assert {name: loaded[name] for name in ("labels", "names", "nested")} == {
        name: HELD[name] for name in ("labels", "names", "nested")
    }


class Evil:
    """Would run a command when it is loaded."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(
    ("evil", "named"),
    [
        (Evil(os.system, "touch evil"), r"(posix|nt)\.system"),
        (Evil(eval, "1"), r"(builtins|__builtin__)\.eval"),
        (Evil(getattr, "", "join"), r"(builtins|__builtin__)\.getattr"),
        (Evil(np.load, "x"), r"numpy\.load"),
        (Evil(np.array, [1]), r"numpy.*array"),
    ],
)
def test_anything_else_is_refused_before_it_is_called(tmp_path, monkeypatch, evil, named, protocol):
    monkeypatch.chdir(tmp_path)
    for content in (pickle.dumps(evil, protocol), pickle.dumps({"data": [evil]}, protocol)):
        with pytest.raises(InputError, match=rf"^batch names {named}, which has no place.*not loaded"):
            load_pickle(content, "batch")
    assert list(tmp_path.iterdir()) == []


def test_objects_inside_an_array_are_refused_too():
    content = pickle.dumps(np.array([Evil(os.system, "true")], dtype=object), 2)
    with pytest.raises(InputError, match="has no place"):
        load_pickle(content, "batch")


@pytest.mark.parametrize("content", [b"", b"no pickle", python2_pickle(HELD)[:60], b"\x80\x02}."[:-1], b"\x80\xff."])
def test_what_is_no_pickle_is_said(content):
    with pytest.raises(InputError, match=r"^batch is no intact pickle .*fetch it again"):
        load_pickle(content, "batch")
