"""Checkpoints of the original project: equal predictions, and nothing run that a file may hold."""

from __future__ import annotations

import os
import pickle
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from model_cases import (
    OriginalNet,
    crystal,
    join,
    original_file,
    original_inputs,
    padded,
    randomize,
    small,
)

from matcard.errors import InputError
from matcard.models import CGCNN, CGCNNOptions, load_weights, read_weights
from matcard.models.crystal import atom_features
from matcard.models.transfer import load_safely

if TYPE_CHECKING:
    from pathlib import Path


def graphs():
    """Crystals with exactly 12 neighbours an atom, with fewer, and with an isolated atom."""
    generator = torch.Generator().manual_seed(0)
    return [crystal(5, 12, generator), crystal(3, 7, generator), crystal(4, 12, generator, isolated=1)]


def trained(**options) -> OriginalNet:
    torch.manual_seed(0)
    net = OriginalNet(**options)
    randomize(net)
    return net.eval()


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("layers", [1, 3])
def test_a_classifier_predicts_what_the_original_predicts(tmp_path, layers, zipped):
    net = trained(layers=layers)
    path = tmp_path / "model_best.pth.tar"
    torch.save(original_file(net), path, _use_new_zipfile_serialization=zipped)
    model = CGCNN(CGCNNOptions(hidden_layers=layers), 2)
    report = load_weights(model, path)
    assert report.endswith(", none new")
    expected = net(*original_inputs(graphs(), atom_features()))
    logits = model.eval()(join([padded(graph) for graph in graphs()])).logits
    torch.testing.assert_close(logits.log_softmax(1), expected, atol=1e-4, rtol=0)


def test_other_widths(tmp_path):
    net = trained(width=8, convolutions=2, hidden=12)
    torch.save(original_file(net), tmp_path / "small.pth.tar")
    model = CGCNN(small(width=8, convolutions=2, hidden=12), 2)
    load_weights(model, tmp_path / "small.pth.tar")
    expected = net(*original_inputs(graphs(), atom_features()))
    logits = model.eval()(join([padded(graph) for graph in graphs()])).logits
    torch.testing.assert_close(logits.log_softmax(1), expected, atol=1e-4, rtol=0)


def test_training_steps_of_the_original(tmp_path):
    """Batch statistics over padded edges are the original's too."""
    net = trained(width=8, convolutions=2, hidden=12)
    torch.save(original_file(net), tmp_path / "small.pth.tar")
    model = CGCNN(small(width=8, convolutions=2, hidden=12), 2)
    load_weights(model, tmp_path / "small.pth.tar")
    net.dropout.p = 0.0
    expected = net.train()(*original_inputs(graphs(), atom_features()))
    logits = model.train()(join([padded(graph) for graph in graphs()])).logits
    torch.testing.assert_close(logits.log_softmax(1), expected, atol=1e-4, rtol=0)
    expected[:, 1].sum().backward()
    logits.log_softmax(1)[:, 1].sum().backward()
    torch.testing.assert_close(model.embedding.weight.grad, net.embedding.weight.grad, atol=1e-4, rtol=1e-3)


def test_a_regression_is_an_encoder(tmp_path):
    net = trained(classification=False)
    torch.save(original_file(net), tmp_path / "formation-energy.pth.tar")
    model = CGCNN(CGCNNOptions(), 3)
    report = load_weights(model, tmp_path / "formation-energy.pth.tar")
    assert report.endswith("new: fc_out.weight, fc_out.bias; not used: fc_out.bias, fc_out.weight")
    expected = net.embed(*original_inputs(graphs(), atom_features()))
    actual = model.eval()(join([padded(graph) for graph in graphs()])).embedding
    torch.testing.assert_close(actual, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    "score", [np.float64(0.5), np.float32(0.5), np.int64(3), np.int32(3), np.bool_(True), torch.tensor(0.5), 0.5]
)
def test_numpy_numbers_among_the_results(tmp_path, score):
    torch.save(original_file(trained(), best_mae_error=score), tmp_path / "c.pth.tar")
    found = load_safely(tmp_path / "c.pth.tar")["best_mae_error"]
    assert (found, type(found)) == (score, type(score))
    assert set(read_weights(tmp_path / "c.pth.tar")) == set(trained().state_dict())


def test_files_from_before_batches_were_counted(tmp_path):
    net = trained()
    state = {name: value for name, value in net.state_dict().items() if "num_batches" not in name}
    torch.save(original_file(net, state_dict=state), tmp_path / "old.pth.tar")
    assert load_weights(CGCNN(CGCNNOptions(), 2), tmp_path / "old.pth.tar").endswith(", none new")


class Attack:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_a_file_that_would_run_code_is_refused_and_does_not_run_it(tmp_path, zipped):
    path = tmp_path / "evil.pth.tar"
    content = original_file(trained(width=4, convolutions=1), args=Attack(tmp_path / "owned"))
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(InputError, match=r"evil\.pth\.tar: holds .*mkdir.* not opened"):
        read_weights(path)
    assert not (tmp_path / "owned").exists()
    torch.load(path, weights_only=False)
    assert (tmp_path / "owned").exists(), "the attack would have worked"


@pytest.mark.parametrize("kind", ["object", "U4", "V8"])
def test_numpy_numbers_of_other_types_are_refused(tmp_path, kind):
    path = tmp_path / "odd.pth.tar"
    score = np.array([b"abcdefgh" if kind == "V8" else "abcd"]).astype(kind)[:1]
    torch.save(original_file(trained(width=4, convolutions=1), best_mae_error=score), path)
    with pytest.raises(InputError, match=r"odd\.pth\.tar: holds"):
        read_weights(path)


def test_a_numpy_type_of_objects_is_refused(tmp_path):
    path = tmp_path / "odd.pth.tar"
    torch.save(original_file(trained(width=4, convolutions=1), best_mae_error=np.dtype("O")), path)
    with pytest.raises(InputError, match="numpy number of type 'O8'"):
        read_weights(path)


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "text", "pickle"])
def test_damaged_files_are_told(tmp_path, damage):
    path = tmp_path / "model.pth.tar"
    torch.save(original_file(trained(width=4, convolutions=1)), path)
    content = bytearray(path.read_bytes())
    if damage == "cut":
        content = content[: len(content) // 2]
    elif damage == "flipped":
        content[:64] = bytes(64)
    elif damage == "empty":
        content = bytearray()
    elif damage == "text":
        content = bytearray(b"not found\n")
    else:
        content = bytearray(pickle.dumps({"state_dict": [1, 2]}, protocol=2))
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"model\.pth\.tar"):
        load_weights(CGCNN(small(), 2), path)


def test_a_state_of_other_things(tmp_path):
    torch.save(
        original_file(trained(width=4, convolutions=1), state_dict={"fc_out.weight": 3}), tmp_path / "odd.pth.tar"
    )
    with pytest.raises(InputError, match=r"odd\.pth\.tar: expected weights"):
        read_weights(tmp_path / "odd.pth.tar")
