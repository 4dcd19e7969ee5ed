"""Work in other processes, and on clusters through joblib's backends."""

from __future__ import annotations

import os

import joblib
import numpy as np
import pytest
from graph_cases import random_crystals

from matcard import parallel
from matcard.crystals import read
from matcard.crystals.read import read_crystals
from matcard.graphs import graphs as graphs_module
from matcard.graphs.graphs import build_graphs, open_graphs
from matcard.graphs.neighbors import GraphOptions
from matcard.parallel import in_order

OPTIONS = GraphOptions()


def square(number):
    return number * number


def fail():
    raise ZeroDivisionError("in a worker")


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")  # Python 3.12
@pytest.mark.parametrize("backend", ["sequential", "threading", "loky", "multiprocessing"])
def test_results_come_in_order_on_any_backend(backend):
    """Multiprocessing is one that gives lists only, as Ray's does."""
    with joblib.parallel_config(backend=backend, n_jobs=2):
        assert list(in_order(square, zip(range(100)), None)) == [k * k for k in range(100)]


def test_calls_are_drawn_as_they_are_needed(monkeypatch):
    monkeypatch.setattr(parallel, "_CALLS_A_WORKER", 3)
    drawn = []

    def numbers():
        for k in range(20):
            drawn.append(k)
            yield (k,)

    with joblib.parallel_config(backend="threading"):
        results = in_order(square, numbers(), 2)
        assert [next(results) for _ in range(7)] == [0, 1, 4, 9, 16, 25, 36]
        assert len(drawn) == 12
        results.close()


@pytest.mark.parametrize("jobs", [1, 2])
def test_errors_of_calls_and_of_what_draws_them_come_through(jobs):
    def broken():
        yield (2,)
        raise KeyError("drawn")

    with joblib.parallel_config(backend="threading"):
        with pytest.raises(ZeroDivisionError, match="in a worker"):
            list(in_order(fail, [()], jobs))
        with pytest.raises(KeyError, match="drawn"):
            list(in_order(square, broken(), jobs))
    assert list(in_order(square, [], jobs)) == []


@pytest.fixture
def cifs(tmp_path, monkeypatch):
    """A folder of structures, some of them malformed, and what is read of them here."""
    monkeypatch.setenv("MATCARD_CACHE", str(tmp_path / "first"))
    place = tmp_path / "cifs"
    place.mkdir()
    crystals = random_crystals(8, seed=3)
    for i in range(len(crystals)):
        crystals.structure(i).to(filename=str(place / f"{i}.cif"), fmt="cif")
    (place / "3.cif").write_text("garbage")
    return place


def check(cifs, cache, monkeypatch):
    """Parse and build with what `joblib.parallel_config` says, and compare with what is made here."""
    with joblib.parallel_config(backend="sequential"):
        expected = read_crystals(cifs)
        graphs = build_graphs(expected, OPTIONS)
    monkeypatch.setattr(read, "_TASK", 2)
    monkeypatch.setattr(read, "PARALLEL_ROWS", 0)
    monkeypatch.setattr(graphs_module, "CHUNK_ATOMS", 6)
    monkeypatch.setenv("MATCARD_CACHE", str(cache))
    got = read_crystals(cifs)
    assert got.ids.tolist() == expected.ids.tolist()
    assert got.faults.tolist() == expected.faults.tolist()
    np.testing.assert_array_equal(got.frac_coords, expected.frac_coords)
    stored = open_graphs(got, OPTIONS, cache)
    for name in ("source", "target", "distance", "edge_offsets"):
        np.testing.assert_array_equal(getattr(stored, name), getattr(graphs, name))


def test_a_dask_cluster_parses_and_builds(cifs, tmp_path, monkeypatch):
    """One worker process with two threads, on this machine."""
    distributed = pytest.importorskip("distributed", reason="the optional extra dask is not installed")
    quiet = {
        "dashboard_address": "127.0.0.1:0",
        "worker_dashboard_address": None,
        "local_directory": str(tmp_path / "dask"),
    }
    with (
        distributed.LocalCluster(n_workers=1, threads_per_worker=2, **quiet) as cluster,
        distributed.Client(cluster) as client,
    ):
        workers = set(client.run(os.getpid).values())
        with joblib.parallel_config(backend="dask"):
            assert set(in_order(os.getpid, [()] * 4, None)) == workers
            check(cifs, tmp_path / "cache", monkeypatch)
