"""The cache of graphs: found by content, safe from damage, kills and other processes."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
import tracemalloc
import warnings

import numpy as np
import pytest
from graph_cases import FCC, LONELY, crystals_of, random_crystals

from matcard.crystals import arrays
from matcard.crystals import graphs as graphs_module
from matcard.crystals.arrays import DamagedStoreError
from matcard.crystals.graphs import Graphs, build_graphs
from matcard.crystals.options import GraphOptions
from matcard.crystals.store import open_store, store_key
from matcard.crystals.stored import StoredGraphs, read_store
from matcard.errors import InputError, MatcardWarning

OPTIONS = GraphOptions()
NAMES = [field.name for field in dataclasses.fields(Graphs)]


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(graphs_module, "CHUNK_ATOMS", 12)


@pytest.fixture
def crystals():
    return random_crystals(12)


def same_graphs(a, b):
    for name in NAMES:
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), strict=True)


class Calls(list):
    """Remembers how far each call of `progress` was."""

    def __call__(self, done, total):
        self.append(done)


def test_a_store_holds_what_is_built_in_memory(crystals, tmp_path):
    stored_graphs = open_store(crystals, OPTIONS, tmp_path / "made" / "here")
    same_graphs(stored_graphs, build_graphs(crystals, OPTIONS))
    same_graphs(stored_graphs, read_store(stored_graphs.folder))


def test_the_second_time_nothing_is_built(crystals, tmp_path):
    first, second = Calls(), Calls()
    open_store(crystals, OPTIONS, tmp_path, progress=first)
    same_graphs(open_store(crystals, OPTIONS, tmp_path, progress=second), build_graphs(crystals, OPTIONS))
    assert first[-1] == 12
    assert len(first) > 2
    assert second == []


@pytest.mark.parametrize("cases", [(), (LONELY, LONELY)], ids=["no crystals", "no edges"])
def test_empty_arrays_can_be_stored(cases, tmp_path):
    crystals = crystals_of(*cases)
    for _ in range(2):
        graphs = open_store(crystals, OPTIONS, tmp_path)
        assert len(graphs) == len(cases)
        assert graphs.batch(range(len(cases))).num_edges == 0


def test_arrays_are_mapped_and_read_only(crystals, tmp_path):
    graphs = open_store(crystals, OPTIONS, tmp_path)
    for name in NAMES:
        assert isinstance(getattr(graphs, name).base, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        graphs.distance[0] = 1
    graphs.batch([0, 3]).distance.zero_()
    same_graphs(graphs, build_graphs(crystals, OPTIONS))


def test_a_pickle_is_as_small_as_the_name_of_its_folder(crystals, tmp_path):
    graphs = open_store(crystals, OPTIONS, tmp_path)
    text = pickle.dumps(graphs)
    assert len(text) < 500 + len(str(tmp_path))
    copy = pickle.loads(text)
    assert isinstance(copy, StoredGraphs)
    same_graphs(copy, graphs)


# ---- the key


def test_the_key_is_that_of_the_content(crystals):
    key = store_key(crystals, OPTIONS)
    renamed = dataclasses.replace(crystals, ids=crystals.ids[::-1].copy())
    strided = dataclasses.replace(crystals, frac_coords=np.asfortranarray(crystals.frac_coords))
    assert store_key(renamed, OPTIONS) == store_key(strided, OPTIONS) == key
    assert len(key) == 64


def test_the_key_changes_with_anything_that_changes_a_graph(crystals, monkeypatch):
    def changed(name, index, value):
        array = getattr(crystals, name).copy()
        array[index] = value
        return dataclasses.replace(crystals, **{name: array})

    keys = {
        "same": store_key(crystals, OPTIONS),
        "lattice": store_key(changed("lattice", (0, 0, 0), 9.0), OPTIONS),
        "numbers": store_key(changed("numbers", 0, 118), OPTIONS),
        "frac_coords": store_key(changed("frac_coords", (3, 1), np.nextafter(crystals.frac_coords[3, 1], 9)), OPTIONS),
        "offsets": store_key(changed("offsets", 1, crystals.offsets[2]), OPTIONS),
        "fewer": store_key(crystals.take(range(11)), OPTIONS),
        "radius": store_key(crystals, GraphOptions(radius=7.9)),
        "neighbors": store_key(crystals, GraphOptions(neighbors=11)),
        "ties": store_key(crystals, GraphOptions(ties="cut")),
    }
    monkeypatch.setattr("matcard.crystals.store.FORMAT", 3)
    keys["format"] = store_key(crystals, OPTIONS)
    monkeypatch.undo()
    monkeypatch.setattr("matcard.crystals.store.files", lambda package: Edited())
    keys["code"] = store_key(crystals, OPTIONS)
    assert len(set(keys.values())) == len(keys)


class Edited:
    """A package whose modules were edited."""

    name = "edited.py"

    def joinpath(self, name):
        return self

    def read_bytes(self):
        return b"def within_reach(): ..."


# ---- damage


def remove(folder):
    (folder / "target.npy").unlink()


def cut_off(folder):
    file = folder / "distance.npy"
    os.truncate(file, file.stat().st_size - 1)


def lengthen(folder):
    with (folder / "image.npy").open("ab") as file:
        file.write(b"\0")


def alter(folder):
    with (folder / "source.npy").open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        last = file.read(1)[0]
        file.seek(-1, os.SEEK_END)
        file.write(bytes([last ^ 1]))


def empty_header(folder):
    (folder / "header.json").write_text("")


def remove_header(folder):
    (folder / "header.json").unlink()


def header_of_another_kind(folder):
    (folder / "header.json").write_text("[1, 2, 3]")


def alter_header(folder):
    header = json.loads((folder / "header.json").read_text())
    header["options"]["radius"] = 4.0
    (folder / "header.json").write_text(json.dumps(header))


def other_format(folder):
    header = json.loads((folder / "header.json").read_text())
    del header["sha256"]
    header["format"] = 0
    (folder / "header.json").write_text(json.dumps({**header, "sha256": arrays._digest(header)}))


def put_another_store_in_place(folder):
    other = open_store(random_crystals(2, seed=5), OPTIONS, folder.parent).folder
    shutil.rmtree(folder)
    shutil.copytree(other, folder)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (remove, r"target\.npy cannot be read"),
        (cut_off, r"distance\.npy has \d+ bytes in place of"),
        (lengthen, r"image\.npy has \d+ bytes in place of"),
        (alter, r"content of source\.npy was altered"),
        (empty_header, r"header\.json is missing or damaged"),
        (remove_header, r"header\.json is missing or damaged"),
        (header_of_another_kind, r"header\.json is missing or damaged"),
        (alter_header, r"header\.json was altered"),
        (other_format, r"format 0, this version of matcard reads 2"),
        (put_another_store_in_place, "holds the content of"),
    ],
)
def test_damage_is_said_and_mended(crystals, tmp_path, damage, message):
    folder = open_store(crystals, OPTIONS, tmp_path).folder
    damage(folder)
    if damage is not put_another_store_in_place:  # whole in itself, only not what was asked for
        with pytest.raises(DamagedStoreError, match=message):
            read_store(folder)
    with pytest.warns(MatcardWarning, match=f"{message}.*built again"):
        mended = open_store(crystals, OPTIONS, tmp_path)
    same_graphs(mended, build_graphs(crystals, OPTIONS))
    calls = Calls()
    open_store(crystals, OPTIONS, tmp_path, progress=calls)
    assert calls == []


@pytest.mark.parametrize("place", [0.0, 0.5, 1.0])
def test_of_a_large_file_samples_are_checked(tmp_path, monkeypatch, place):
    monkeypatch.setattr(arrays, "_WHOLE_BYTES", 1000)
    monkeypatch.setattr(arrays, "_SAMPLE_BYTES", 64)
    monkeypatch.setattr(arrays, "_SAMPLES", 3)
    file = tmp_path / "large"
    content = bytearray(np.random.default_rng(0).bytes(10_001))
    file.write_bytes(content)
    before = arrays.fingerprint(file)
    content[200] ^= 1
    file.write_bytes(content)
    assert arrays.fingerprint(file) == before  # between two samples: not seen, and documented so
    content[int(place * 10_000)] ^= 1
    file.write_bytes(content)
    assert arrays.fingerprint(file)["sha256"] != before["sha256"]


def test_a_store_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no store"):
        read_store(tmp_path / "nothing")


def test_a_cache_that_cannot_be_written(crystals, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot be used .*MATCARD_CACHE"):
        open_store(crystals, OPTIONS, tmp_path / "file")


# ---- kills and other processes


def build_and_die(folder, after):
    graphs_module.CHUNK_ATOMS = 12

    def die(done, total):
        if done >= after:
            os.kill(os.getpid(), signal.SIGKILL)

    open_store(random_crystals(12), OPTIONS, folder, progress=die)


@pytest.fixture
def killed(tmp_path):
    """The folder of a build that was killed after some of the crystals."""
    process = multiprocessing.get_context("spawn").Process(target=build_and_die, args=(tmp_path, 5))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    (partial,) = tmp_path.glob("*.partial")
    return partial


def test_a_killed_build_goes_on(killed, crystals, tmp_path):
    with (killed / "source.npy").open("ab") as file:
        file.write(b"a piece that was not finished")
    (killed / ".journal-1.json").write_text("{")
    calls = Calls()
    with warnings.catch_warnings(action="error"):
        graphs = open_store(crystals, OPTIONS, tmp_path, progress=calls)
    assert calls[0] > 5
    same_graphs(graphs, build_graphs(crystals, OPTIONS))
    assert not list(tmp_path.glob("*.partial"))
    assert sorted(file.stem for file in graphs.folder.iterdir()) == sorted([*NAMES, "header"])


def lose_rows(partial):
    os.truncate(partial / "source.npy", 200)


def lose_journal(partial):
    (partial / "journal.json").unlink()


def spoil_journal(partial):
    (partial / "journal.json").write_text('{"source": 3')


def journal_of_another_kind(partial):
    (partial / "journal.json").write_text("[5]")


def journal_without_a_file(partial):
    journal = json.loads((partial / "journal.json").read_text())
    del journal["rows"]["image"]
    (partial / "journal.json").write_text(json.dumps(journal))


@pytest.mark.parametrize(
    "spoil", [lose_rows, lose_journal, spoil_journal, journal_of_another_kind, journal_without_a_file]
)
def test_a_killed_build_whose_files_are_spoilt_starts_anew(killed, crystals, tmp_path, spoil):
    spoil(killed)
    calls = Calls()
    graphs = open_store(crystals, OPTIONS, tmp_path, progress=calls)
    assert calls[0] <= 5
    same_graphs(graphs, build_graphs(crystals, OPTIONS))


def build_slowly(folder, barrier, log):
    graphs_module.CHUNK_ATOMS = 12

    def note(done, total):
        with log.open("a") as file:
            file.write(f"{os.getpid()}\n")
        time.sleep(0.05)

    crystals = random_crystals(12)
    barrier.wait(60)
    graphs = open_store(crystals, OPTIONS, folder, progress=note)
    same_graphs(graphs, build_graphs(crystals, OPTIONS))


def test_of_two_processes_one_builds_and_the_other_waits(tmp_path):
    context = multiprocessing.get_context("spawn")
    barrier, log = context.Barrier(2), tmp_path / "log"
    both = [context.Process(target=build_slowly, args=(tmp_path, barrier, log)) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join()
    assert [process.exitcode for process in both] == [0, 0]
    builders = log.read_text().split()
    assert len(set(builders)) == 1


# ---- what it costs


def test_memory_of_a_build_does_not_grow_with_the_number_of_crystals(tmp_path, monkeypatch):
    monkeypatch.setattr(graphs_module, "CHUNK_ATOMS", 32)

    def peak(number):
        crystals = crystals_of(*[FCC] * number)
        open_store(crystals_of(LONELY), OPTIONS, tmp_path / f"warm-{number}")
        tracemalloc.start()
        open_store(crystals, OPTIONS, tmp_path / str(number))
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    few, many = peak(100), peak(1000)
    size_of_many = 1000 * 12 * (4 + 4 + 4 + 3)
    assert many - few < size_of_many / 4


def test_a_store_is_read_with_torch_and_numpy_alone(crystals, tmp_path):
    folder = open_store(crystals, OPTIONS, tmp_path).folder
    code = f"""
import sys
for name in ("pymatgen", "pandas", "joblib", "filelock", "matminer", "ase", "scipy", "sklearn", "lightning"):
    sys.modules[name] = None
import warnings
warnings.filterwarnings("ignore", message="`torch.jit.script", category=DeprecationWarning)
from pathlib import Path
from matcard.crystals.batches import GraphDataset
from matcard.crystals.stored import read_store
print(GraphDataset(read_store(Path({str(folder)!r})))[3].num_nodes)
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert out.returncode == 0, out.stderr
    assert int(out.stdout) == crystals.num_sites[3]
