"""Graphs in the cache: the same as built ones, found by content, safe from damage, kills and other processes."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import os
import pickle
import shutil
import time
import tracemalloc
import warnings

import numpy as np
import pytest
from graph_cases import FCC, LONELY, crystals_of, random_crystals

from matcard import cache
from matcard.errors import InputError, MatcardWarning
from matcard.graphs import graphs as graphs_module
from matcard.graphs.graphs import Graphs, build_graphs, open_graphs
from matcard.graphs.neighbors import GraphOptions

OPTIONS = GraphOptions()
NAMES = [field.name for field in dataclasses.fields(Graphs) if field.name != "folder"]


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(graphs_module, "CHUNK_ATOMS", 12)


@pytest.fixture
def crystals():
    return random_crystals(12)


class Calls(list):
    def __call__(self, done, total):
        assert total == 12
        self.append(done)


def same_graphs(one, other):
    for name in NAMES:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), strict=True)


def test_stored_graphs_are_the_built_ones_and_the_second_time_nothing_is_built(crystals, tmp_path):
    for expected in (True, False):
        calls = Calls()
        same_graphs(open_graphs(crystals, OPTIONS, tmp_path, progress=calls), build_graphs(crystals, OPTIONS))
        assert bool(calls) == expected
        assert not calls or (calls[0], calls[-1], calls == sorted(calls), len(calls) > 3) == (0, 12, True, True)


@pytest.mark.parametrize("cases", [(), (LONELY, LONELY)], ids=["no crystals", "no edges"])
def test_empty_arrays_can_be_stored(cases, tmp_path):
    for _ in range(2):
        graphs = open_graphs(crystals_of(*cases), OPTIONS, tmp_path)
        assert len(graphs) == len(cases)
        assert graphs.batch(range(len(cases))).edge_index.shape == (2, 0)


def test_rows_at_fault_have_graphs_without_atoms(crystals, tmp_path):
    faults = np.array([None, "bad", *[None] * 10], dtype=object)
    graphs = open_graphs(crystals.with_faults(faults), OPTIONS, tmp_path)
    assert np.diff(graphs.node_offsets)[1] == 0
    others = np.flatnonzero(np.arange(12) != 1)
    assert graphs.batch(others).edge_index.equal(build_graphs(crystals, OPTIONS).batch(others).edge_index)


def test_arrays_are_mapped_and_read_only(crystals, tmp_path):
    graphs = open_graphs(crystals, OPTIONS, tmp_path)
    for name in NAMES:
        assert isinstance(getattr(graphs, name).base, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        graphs.distance[0] = 1
    graphs.batch([0, 3]).distance.zero_()
    same_graphs(graphs, build_graphs(crystals, OPTIONS))


def test_a_pickle_is_as_small_as_the_name_of_its_folder(crystals, tmp_path):
    graphs = open_graphs(crystals, OPTIONS, tmp_path)
    text = pickle.dumps(graphs)
    assert len(text) < 500 + len(str(tmp_path))
    copy = pickle.loads(text)
    assert copy.folder == graphs.folder
    same_graphs(copy, graphs)


def test_only_what_changes_a_graph_changes_its_place(crystals, tmp_path, monkeypatch):
    def place(some, options=OPTIONS):
        return open_graphs(some, options, tmp_path).folder

    def changed(name, index, value):
        array = getattr(crystals, name).copy()
        array[index] = value
        return dataclasses.replace(crystals, **{name: array})

    first = place(crystals)
    renamed = dataclasses.replace(crystals, ids=crystals.ids[::-1].copy())
    strided = dataclasses.replace(crystals, frac_coords=np.asfortranarray(crystals.frac_coords))
    assert place(renamed) == place(strided) == first
    places = [
        first,
        place(changed("lattice", (0, 0, 0), 9.0)),
        place(changed("numbers", 0, 118)),
        place(changed("frac_coords", (3, 1), np.nextafter(crystals.frac_coords[3, 1], 9))),
        place(crystals.take(range(11))),
        place(crystals, GraphOptions(radius=7.9)),
        place(crystals, GraphOptions(neighbors=11)),
        place(crystals, GraphOptions(ties="cut")),
    ]
    monkeypatch.setattr(cache, "FORMAT", 0)
    places.append(place(crystals))
    monkeypatch.setattr(graphs_module, "code_digest", lambda *_: "edited")
    places.append(place(crystals))
    assert len(set(places)) == len(places)


def cut_off(folder):
    file = folder / "distance.npy"
    os.truncate(file, file.stat().st_size - 1)


def alter(folder):
    with (folder / "source.npy").open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        last = file.read(1)[0]
        file.seek(-1, os.SEEK_END)
        file.write(bytes([last ^ 1]))


def alter_header(folder):
    header = json.loads((folder / "header.json").read_text())
    header["noted"]["options"]["radius"] = 4.0
    (folder / "header.json").write_text(json.dumps(header))


def put_another_in_place(folder):
    other = open_graphs(random_crystals(2, seed=5), OPTIONS, folder.parent).folder
    shutil.rmtree(folder)
    shutil.copytree(other, folder)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "target.npy").unlink(), r"a file is missing or damaged .*target\.npy"),
        (cut_off, r"content of distance\.npy was altered"),
        (alter, r"content of source\.npy was altered"),
        (lambda folder: (folder / "header.json").write_text(""), "a file is missing or damaged"),
        (lambda folder: (folder / "header.json").unlink(), "a file is missing or damaged"),
        (lambda folder: (folder / "header.json").write_text("[1, 2]"), "a file is missing or damaged"),
        (alter_header, r"content of header\.json was altered"),
        (put_another_in_place, r"content of header\.json was altered"),
    ],
)
def test_damage_is_said_and_mended(crystals, tmp_path, damage, message):
    damage(open_graphs(crystals, OPTIONS, tmp_path).folder)
    with pytest.warns(MatcardWarning, match=f"{message}.*built again"):
        mended = open_graphs(crystals, OPTIONS, tmp_path)
    same_graphs(mended, build_graphs(crystals, OPTIONS))
    calls = Calls()
    open_graphs(crystals, OPTIONS, tmp_path, progress=calls)
    assert calls == []


@pytest.mark.parametrize("place", [0.0, 0.5, 1.0])
def test_of_a_large_file_samples_are_checked(tmp_path, monkeypatch, place):
    monkeypatch.setattr(cache, "_WHOLE_BYTES", 1000)
    monkeypatch.setattr(cache, "_SAMPLE_BYTES", 64)
    monkeypatch.setattr(cache, "_SAMPLES", 3)
    file = tmp_path / "large"
    content = bytearray(np.random.default_rng(0).bytes(10_001))
    file.write_bytes(content)
    before = cache._fingerprint(file)
    content[200] ^= 1
    file.write_bytes(content)
    assert cache._fingerprint(file) == before  # between two samples: not seen, and documented so
    content[int(place * 10_000)] ^= 1
    file.write_bytes(content)
    assert cache._fingerprint(file)["sha256"] != before["sha256"]


def test_a_cache_that_cannot_be_written(crystals, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot be used .*MATCARD_CACHE"):
        open_graphs(crystals, OPTIONS, tmp_path / "file")


def build_slowly(folder, barrier, log):
    graphs_module.CHUNK_ATOMS = 12

    def note(done, total):
        with log.open("a") as file:
            file.write(f"{os.getpid()}\n")
        time.sleep(0.3)

    crystals = random_crystals(12)
    barrier.wait(60)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        graphs = open_graphs(crystals, OPTIONS, folder, progress=note)
    same_graphs(graphs, build_graphs(crystals, OPTIONS))
    with log.open("a") as file:
        file.writelines(f"waited: {warning.message}\n" for warning in told)


def test_of_two_processes_one_builds_and_the_other_says_that_it_waits(tmp_path):
    context = multiprocessing.get_context("spawn")
    barrier, log = context.Barrier(2), tmp_path / "log"
    both = [context.Process(target=build_slowly, args=(tmp_path, barrier, log)) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join()
    assert [process.exitcode for process in both] == [0, 0]
    lines = log.read_text().splitlines()
    (waited,) = (line for line in lines if line.startswith("waited"))
    assert "waiting for another process that builds the graphs of 12 crystals" in waited
    assert len({line for line in lines if not line.startswith("waited")}) == 1


def test_memory_of_a_build_does_not_grow_with_the_number_of_crystals(tmp_path, monkeypatch):
    monkeypatch.setattr(graphs_module, "CHUNK_ATOMS", 32)

    def peak(number):
        crystals = crystals_of(*[FCC] * number)
        open_graphs(crystals_of(LONELY), OPTIONS, tmp_path / f"warm-{number}")
        tracemalloc.start()
        open_graphs(crystals, OPTIONS, tmp_path / str(number))
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    few, many = peak(600), peak(3000)
    size_of_many = 3000 * 12 * (4 + 4 + 4 + 3)
    assert many - few < size_of_many / 4
