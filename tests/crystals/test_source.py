"""What a source consists of, and its digest."""

from __future__ import annotations

import os

import pytest

from matcard.crystals import source as source_module
from matcard.crystals.source import SourceState, source_exists, source_files
from matcard.errors import InputError


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "crystals"
    (place / "runs").mkdir(parents=True)
    for name in ("b.cif", "a.cif", "id_prop.csv", "runs/old.cif"):
        (place / name).write_text(f"content of {name}")
    return place


def test_the_files_of_a_source(folder):
    assert [path.name for path in source_files(folder)] == ["a.cif", "b.cif", "id_prop.csv"]
    assert [path.name for path in source_files(f"{folder}/*.cif")] == ["a.cif", "b.cif"]
    assert source_files(str(folder / "a.cif")) == [folder / "a.cif"]
    assert source_files(f"{folder}/*.vasp") == []
    with pytest.raises(InputError, match=r"c\.cif does not exist.*did you mean"):
        source_files(folder / "c.cif")


def test_a_file_whose_name_looks_like_a_pattern(folder):
    odd = folder / "[1].cif"
    odd.write_text("x")
    assert source_files(odd) == [odd]


def test_what_exists(folder):
    for there in (folder, str(folder / "a.cif"), f"{folder}/*.cif", f"{folder}/?.cif"):
        assert source_exists(there)
    for missing in (folder / "c.cif", f"{folder}/*.vasp", "no_such_card"):
        assert not source_exists(missing)


def test_the_digest_is_that_of_names_and_contents(folder, tmp_path):
    def digest():
        return SourceState(folder, tmp_path / "memory").digest()

    first = digest()
    assert len(first) == 64
    found = {first}
    (folder / "a.cif").write_text("content of A.cif")  # as long as before
    found.add(digest())
    (folder / "a.cif").write_text("content of a.cif")
    assert digest() == first
    (folder / "a.cif").rename(folder / "z.cif")
    found.add(digest())
    (folder / "new.txt").write_text("")
    found.add(digest())
    (folder / "z.cif").unlink()
    found.add(digest())
    assert len(found) == 5
    assert SourceState(folder / "b.cif", tmp_path / "memory").digest() not in found


def test_a_digest_is_remembered_once_the_files_are_settled(folder, tmp_path, monkeypatch):
    read = []
    digest_file = source_module.hashlib.file_digest

    def counted(file, kind):
        read.append(file.name)
        return digest_file(file, kind)

    monkeypatch.setattr(source_module.hashlib, "file_digest", counted)
    memory = tmp_path / "memory"
    first = SourceState(folder, memory).digest()
    assert SourceState(folder, memory).digest() == first
    assert len(read) == 6  # files that are seconds old may still change unseen
    monkeypatch.setattr(source_module, "_SETTLED_NS", 0)
    assert SourceState(folder, memory).digest() == first
    assert SourceState(folder, memory).digest() == first
    assert len(read) == 9
    times = (folder / "a.cif").stat()
    (folder / "a.cif").write_text("content of A.cif")
    os.utime(folder / "a.cif", ns=(times.st_atime_ns, times.st_mtime_ns))  # what a copying program may do
    assert SourceState(folder, memory).digest() != first


def test_without_a_place_to_remember_it_the_digest_is_the_same(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(source_module, "_SETTLED_NS", 0)
    (tmp_path / "file").write_text("")
    first = SourceState(folder, tmp_path / "file").digest()
    assert SourceState(folder, tmp_path / "memory").digest() == first


def test_a_change_is_noticed(folder, tmp_path):
    state = SourceState(folder, tmp_path)
    state.require_unchanged()
    (folder / "late.cif").write_text("x")
    with pytest.raises(InputError, match="was changed while it was read"):
        state.require_unchanged()


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="everything is readable here")
def test_a_file_that_may_not_be_read(folder, tmp_path):
    (folder / "a.cif").chmod(0)
    with pytest.raises(InputError, match=r"a\.cif cannot be read"):
        SourceState(folder, tmp_path).digest()
