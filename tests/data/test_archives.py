from __future__ import annotations

import io
import os
import pickle
import stat
import tarfile
import zipfile

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from pickle_cases import python2_pickle

from matcard.data.archives import contents, extract, load_pickle
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


def make_zip(path, files=FILES, modes=()):
    with zipfile.ZipFile(path, "w") as file:
        for name, content in files.items():
            member = zipfile.ZipInfo(name)
            member.external_attr = dict(modes).get(name, 0o644) << 16
            file.writestr(member, content)
    return path


def unpacked(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz", "a.tar.bz2", "a.tar.xz", "a.zip"])
def test_files_are_unpacked_as_they_are(tmp_path, name):
    archive = (make_zip if name.endswith("zip") else make_tar)(tmp_path / name)
    folder = extract(archive, tmp_path / "out")
    assert unpacked(folder) == FILES
    assert sorted(path.name for path in tmp_path.iterdir()) == [name, "out"]
    assert dict(contents(archive)) == FILES


def test_only_what_is_wanted_is_unpacked(tmp_path):
    evil = {**FILES, "../evil": b"!"}
    for archive in (make_tar(tmp_path / "a.tar", evil), make_zip(tmp_path / "a.zip", evil)):
        folder = extract(archive, tmp_path / archive.suffix, lambda name: name.endswith(".txt"))
        assert unpacked(folder) == {name: FILES[name] for name in ("a.txt", "deep/er/b.txt")}


LEADING_OUT = ["/etc/evil", "../evil", "a/../../evil", "..\\evil", "C:\\evil", "C:evil", "\\evil", "a\\..\\..\\b"]


def deep_in(tmp_path):
    inside = tmp_path / "deep" / "inside"
    inside.mkdir(parents=True)
    return inside


@pytest.mark.parametrize("name", LEADING_OUT)
def test_members_of_a_zip_that_lead_out_are_refused(tmp_path, name):
    inside = deep_in(tmp_path)
    archive = make_zip(inside / "a.zip", {"good.txt": b"1", name: b"evil"})
    with pytest.raises(InputError, match="leads out of its folder"):
        extract(archive, inside / "out")
    assert [path.name for path in inside.iterdir()] == [archive.name]
    assert [path.name for path in tmp_path.iterdir()] == ["deep"]


@pytest.mark.parametrize("name", LEADING_OUT)
def test_members_of_a_tar_never_get_out(tmp_path, name):
    inside = deep_in(tmp_path)
    archive = make_tar(inside / "a.tar", {"good.txt": b"1", name: b"evil"})
    if ".." in name.split("/"):
        with pytest.raises(InputError, match=r"a\.tar has a member '.*evil' that leads out of its folder"):
            extract(archive, inside / "out")
        assert [path.name for path in inside.iterdir()] == [archive.name]
    else:  # a name within the folder, on this system
        assert set(unpacked(extract(archive, inside / "out")).values()) == {b"1", b"evil"}
        assert sorted(path.name for path in inside.iterdir()) == [archive.name, "out"]
    assert [path.name for path in tmp_path.iterdir()] == ["deep"]
    assert dict(contents(archive)) == {"good.txt": b"1", name: b"evil"}, "what is only read writes nothing"


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
@pytest.mark.parametrize("leads_to", ["/etc/passwd", "../../passwd"])
def test_devices_and_links_that_lead_out_of_a_tar_are_refused(tmp_path, kind, leads_to):
    member = tarfile.TarInfo("odd")
    member.type, member.linkname = kind, leads_to
    archive = make_tar(tmp_path / "a.tar", FILES, member)
    with pytest.raises(
        InputError, match=r"a\.tar has a member 'odd' that leads out of its folder or is a link or device"
    ):
        extract(archive, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert dict(contents(archive)) == FILES


@pytest.mark.parametrize("mode", [stat.S_IFLNK | 0o777, stat.S_IFCHR | 0o600, stat.S_IFIFO | 0o600])
def test_links_and_devices_in_a_zip_are_refused(tmp_path, mode):
    archive = make_zip(tmp_path / "a.zip", {"odd": b"/etc/passwd"}, {"odd": mode})
    with pytest.raises(InputError, match=r"a\.zip has a member 'odd' that .* is a link or device"):
        extract(archive, tmp_path / "out")


@pytest.mark.parametrize("name", ["a.tar.gz", "a.tar", "a.zip"])
@pytest.mark.parametrize("damage", ["cut", "other", "empty"])
def test_a_damaged_archive_is_said_and_nothing_unpacked(tmp_path, name, damage):
    content = {"a": os.urandom(5000), "b": os.urandom(5000)}
    archive = (make_zip if name.endswith("zip") else make_tar)(tmp_path / name, content)
    whole = archive.read_bytes()
    archive.write_bytes({"cut": whole[:4000], "other": b"<html>no</html>" * 50, "empty": b""}[damage])
    with pytest.raises(InputError, match=rf"{name} is no intact archive .*fetch it again"):
        extract(archive, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_an_archive_that_is_not_there_is_the_callers_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        extract(tmp_path / "absent.tar", tmp_path / "out")


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
