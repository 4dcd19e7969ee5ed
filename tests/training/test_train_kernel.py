"""Which route of the convolution a training takes on a CPU."""

from __future__ import annotations

import importlib

import pandas as pd
import pytest
from train_cases import options, run_here

from matcard.errors import InputError

fit_module = importlib.import_module("matcard.training.fit")


@pytest.fixture
def routes(monkeypatch):
    """What each training that is begun takes."""
    taken = []
    build = fit_module.build_module

    def noted(config, data):
        module = build(config, data)
        taken.append(getattr(module.model, "fused", None) is not None)
        return module

    monkeypatch.setattr(fit_module, "build_module", noted)
    return taken


def test_both_routes_give_the_same_run(small_table, tmp_path, routes):
    pytest.importorskip("numba", reason="numba is not installed")
    runs = [
        run_here(*options(small_table, tmp_path / name, f"--trainer.cpu_kernel={name}")) for name in ("numba", "torch")
    ]
    assert routes == [True, False]
    compiled, plain = (pd.read_parquet(run.predictions) for run in runs)
    pd.testing.assert_frame_equal(compiled, plain, atol=1e-5, rtol=0)


def test_long_trainings_are_compiled_by_themselves(small_table, tmp_path, routes, monkeypatch):
    pytest.importorskip("numba", reason="numba is not installed")
    run_here(*options(small_table, tmp_path / "short"))
    monkeypatch.setattr(fit_module, "COMPILED_FROM", 2 * 42)
    run_here(*options(small_table, tmp_path / "long"))
    assert routes == [False, True]


def test_a_route_that_is_not_there_is_refused(small_table, tmp_path, monkeypatch):
    monkeypatch.setattr("matcard.models.cgcnn.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install -e .\.\[fast\]"):
        run_here(*options(small_table, tmp_path / "run", "--trainer.cpu_kernel=numba"))
