"""CHGNet's numbers: against its own converter and forward pass, and what may not change them."""

from __future__ import annotations

import time
import warnings

import numpy as np
import pytest
import torch
from descriptor_cases import ALONE, HALF_ALONE, IRON, SALT, crystals_of, random_crystal

chgnet = pytest.importorskip("chgnet", reason="chgnet is not installed (the extra matcard[chgnet])")

from chgnet.model.model import CHGNet  # noqa: E402

from matcard.descriptors.chgnet import CHGNetNumbers, _bonds, _edges, _network  # noqa: E402


@pytest.fixture(autouse=True)
def _fresh_seed():
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def original():
    """CHGNet as its package loads it, with a list that gets the atoms of both layers."""
    model = CHGNet.load(use_device="cpu", verbose=False)
    model.graph_converter.set_isolated_atom_response("ignore")
    heard = []
    for layer in (model.atom_conv_layers[2], model.readout_norm):
        layer.register_forward_hook(lambda _module, _inputs, output: heard.append(output.detach().double().numpy()))
    return model, heard


def by_the_package(original, crystals) -> np.ndarray:
    """The numbers of each crystal by itself, from the package's own graph."""
    model, heard = original
    rows = []
    for i in range(len(crystals)):
        heard.clear()
        with torch.no_grad():
            model([model.graph_converter(crystals.structure(i))], task="e")
        rows.append(np.concatenate([f(x, axis=0) for x in heard for f in (np.mean, np.std, np.max)]))
    return np.array(rows)


MANY = crystals_of(SALT, IRON, ALONE, HALF_ALONE, *(random_crystal(seed, 1 + seed % 9) for seed in range(12)))


@pytest.mark.filterwarnings("ignore:No Pauling electronegativity")  # from the package's own converter
def test_as_the_package_computes_them(original) -> None:
    numbers = CHGNetNumbers().compute(MANY)
    assert numbers.values.shape == (len(MANY), 384)
    assert numbers.values.dtype == np.float32
    assert all(reason is None for reason in numbers.reasons)
    np.testing.assert_allclose(numbers.values, by_the_package(original, MANY), rtol=2e-4, atol=2e-4)


def test_alone_or_together(monkeypatch: pytest.MonkeyPatch) -> None:
    together = CHGNetNumbers().compute(MANY).values
    monkeypatch.setattr(_network("chgnet", "cpu"), "batch_atoms", 7)
    np.testing.assert_allclose(CHGNetNumbers().compute(MANY).values, together, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("seed", range(4))
def test_what_may_not_change_them(seed: int) -> None:
    """The order of sites, the cell they are written in, a rotation, whole lattice vectors, and the size of the cell."""
    lattice, numbers, coords = random_crystal(seed)
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(numbers))
    turned = lattice @ np.linalg.qr(generator.normal(size=(3, 3)))[0]
    doubled = lattice * np.array([[2], [1], [1]])
    twice = np.concatenate([coords, coords + np.array([1, 0, 0])]) / [2, 1, 1]
    same = crystals_of(
        (lattice, numbers, coords),
        (lattice, [numbers[k] for k in order], coords[order]),
        (turned, numbers, coords + generator.uniform(0, 1, 3)),
        (lattice, numbers, coords + generator.integers(-200, 200, coords.shape)),
        (doubled, numbers * 2, twice),
    )
    values = CHGNetNumbers().compute(same).values
    np.testing.assert_allclose(values, values[:1].repeat(5, axis=0), rtol=1e-3, atol=1e-3)


def test_rows_without_numbers() -> None:
    curium = (*SALT[:1], [96, 17], SALT[2])
    numbers = CHGNetNumbers().compute(crystals_of(SALT, curium, IRON))
    assert numbers.reasons.tolist() == [None, "CHGNet knows the elements up to Pu, not Cm", None]
    assert np.isnan(numbers.values).all(axis=1).tolist() == [False, True, False]
    none = CHGNetNumbers().compute(MANY.take([]))
    assert none.values.shape == (0, 384)


def test_an_edge_whose_opposite_is_missing_is_left_out() -> None:
    crystal = crystals_of(IRON)
    edges = _edges(crystal, 6.0)
    whole = _bonds(*edges)
    assert len(whole[3]) == 2 * len(whole[4])
    less = _bonds(*(np.delete(part, 5, axis=0) for part in edges))
    assert len(less[3]) == len(whole[3]) - 2
    assert np.bincount(less[3]).tolist() == [2] * len(less[4])


def test_random_weights_are_another_network_and_always_the_same() -> None:
    state = torch.random.get_rng_state()
    pretrained, first = CHGNetNumbers().compute(MANY), CHGNetNumbers("chgnet_random").compute(MANY)
    _network.cache_clear()
    torch.manual_seed(5)
    again = CHGNetNumbers("chgnet_random").compute(MANY)
    np.testing.assert_array_equal(first.values, again.values)
    assert np.abs(first.values - pretrained.values).max() > 0.1
    torch.manual_seed(0)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert CHGNetNumbers("chgnet_random").version != CHGNetNumbers().version
    assert chgnet.__version__ in CHGNetNumbers().version


def test_weights_are_read_without_pickle_and_in_silence(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    asked = []
    load = torch.load
    monkeypatch.setattr(torch, "load", lambda *args, **kwargs: asked.append(kwargs) or load(*args, **kwargs))
    _network.cache_clear()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        CHGNetNumbers().compute(MANY.take([0]))
    assert [kwargs["weights_only"] for kwargs in asked] == [True]
    assert capsys.readouterr() == ("", "")


@pytest.mark.slow
def test_no_slower_than_the_package(original) -> None:
    model, _ = original
    crystals = crystals_of(*(random_crystal(seed, 10) for seed in range(64)))
    CHGNetNumbers().compute(crystals.take(range(4)))
    ours, theirs = [], []
    for _ in range(3):
        start = time.process_time()
        CHGNetNumbers().compute(crystals)
        ours.append(time.process_time() - start)
        start = time.process_time()
        graphs = [model.graph_converter(crystals.structure(i)) for i in range(len(crystals))]
        with torch.no_grad():
            for first in range(0, len(graphs), 16):
                model(graphs[first : first + 16], task="e")
        theirs.append(time.process_time() - start)
    assert min(ours) < 1.1 * min(theirs)


@pytest.mark.gpu
def test_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    on_gpu = CHGNetNumbers().compute(MANY).values
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    np.testing.assert_allclose(on_gpu, CHGNetNumbers().compute(MANY).values, rtol=1e-3, atol=1e-3)
