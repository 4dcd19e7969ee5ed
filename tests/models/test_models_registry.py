"""Names, options, and what every model has in common."""

from __future__ import annotations

import dataclasses
import inspect
import subprocess
import sys

import numpy as np
import pytest
import torch
from model_cases import join, random_batch, small, small_transformer
from torch_geometric.data import Data

from matcard.errors import InputError
from matcard.models import (
    CGCNN,
    MLP,
    CGCNNOptions,
    Classifier,
    CrystalTransformer,
    GlassNet,
    GlassNetOptions,
    MLPOptions,
    ModelOptions,
    ResNet,
    ResNetOptions,
    TransformerOptions,
    build_model,
)

CLASSES = {
    "cgcnn": (CGCNNOptions, CGCNN),
    "transformer": (TransformerOptions, CrystalTransformer),
    "mlp": (MLPOptions, MLP),
    "resnet": (ResNetOptions, ResNet),
    "glassnet": (GlassNetOptions, GlassNet),
}


def test_names_options_and_classes():
    assert sorted(Classifier.names()) == sorted(CLASSES)
    for name, (options, made) in CLASSES.items():
        assert Classifier.find(name) is made
        assert made.options_class is options
        assert inspect.getsourcefile(options) == inspect.getsourcefile(made)
        assert options().name == name
        assert next(iter(dataclasses.fields(options))).name == "name"
        data = {} if "crystals" in options.takes else {"input_shape": (1, 6, 6) if name == "resnet" else (3,)}
        assert type(build_model(options(), num_classes=2, **data)) is made


def test_unknown_names_get_the_nearest():
    with pytest.raises(InputError, match=r"unknown model 'cgnn'.*cgcnn"):
        Classifier.find("cgnn")
    with pytest.raises(InputError, match="unknown model ''"):
        build_model(ModelOptions(), num_classes=2)


def test_one_class_is_none():
    with pytest.raises(InputError, match="at least 2 classes"):
        build_model(small(), num_classes=1)


@pytest.mark.parametrize(
    ("options", "value", "expected"),
    [
        (CGCNNOptions, {"width": 0}, "option width of model 'cgcnn' is 0: expected a whole number of 1 or more"),
        (CGCNNOptions, {"convolutions": 0}, "convolutions of model 'cgcnn' is 0"),
        (CGCNNOptions, {"hidden_layers": 0}, "hidden_layers of model 'cgcnn' is 0"),
        (CGCNNOptions, {"dropout": 1.0}, "dropout of model 'cgcnn' is 1.0: expected a number in [0, 1)"),
        (CGCNNOptions, {"step": 0.0}, "step of model 'cgcnn' is 0.0"),
        (CGCNNOptions, {"dmin": 9.0}, "dmin < dmax"),
        (CGCNNOptions, {"var": -0.1}, "var of model 'cgcnn' is -0.1"),
        (CGCNNOptions, {"atom_features": "magpie"}, "expected one of cgcnn, learned"),
        (TransformerOptions, {"heads": 5}, "not a multiple of --model.heads 5"),
        (TransformerOptions, {"heads": 0}, "heads of model 'transformer' is 0"),
        (MLPOptions, {"hidden": 0}, "hidden of model 'mlp' is 0"),
        (MLPOptions, {"dropout": -0.1}, "dropout of model 'mlp' is -0.1"),
    ],
)
def test_values_out_of_range(options, value, expected):
    with pytest.raises(InputError) as caught:
        options(**value)
    assert expected in str(caught.value)


def test_defaults_are_the_originals():
    options = CGCNNOptions()
    assert (options.width, options.convolutions, options.hidden, options.hidden_layers) == (64, 3, 128, 1)
    assert (options.dmin, options.dmax, options.step, options.var, options.dropout) == (0.0, 8.0, 0.2, None, 0.5)


def test_models_need_nothing_heavy():
    code = (
        "import sys; from matcard.models import CGCNN, CGCNNOptions, MLP; CGCNN(CGCNNOptions(), 2); "
        "assert not {'pymatgen', 'pandas', 'lightning', 'matminer.utils', 'torch_geometric'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_rows_of_tables():
    torch.manual_seed(0)
    model = build_model(MLPOptions(hidden=5, hidden_layers=2), num_classes=3, input_shape=(4,))
    x = torch.randn(7, 4)
    hidden = x
    for layer in model.layers:
        hidden = (hidden @ layer.weight.t() + layer.bias).clamp(min=0)
    output = model(Data(x=x))
    torch.testing.assert_close(output.embedding, hidden)
    torch.testing.assert_close(output.logits, hidden @ model.fc_out.weight.t() + model.fc_out.bias)
    assert model.train()(Data(x=x[:1])).logits.shape == (1, 3)


def test_dropout_of_rows():
    torch.manual_seed(0)
    model = build_model(MLPOptions(hidden=50, hidden_layers=1, dropout=0.5), num_classes=2, input_shape=(4,))
    batch = Data(x=torch.randn(5, 4))
    assert torch.equal(model(batch).embedding, model(batch).embedding)
    assert not torch.equal(model(batch).logits, model(batch).logits)
    assert torch.equal(model.eval()(batch).logits, model(batch).logits)
    deep = build_model(MLPOptions(hidden=50, hidden_layers=3, dropout=0.5), num_classes=2, input_shape=(4,))
    assert not torch.equal(deep(batch).embedding, deep(batch).embedding)


@pytest.mark.parametrize("options", [small(), small_transformer(), small(atom_features="learned")])
def test_sizes_of_outputs(options):
    model = build_model(options, num_classes=4)
    batch = random_batch(5, isolated=1)
    for training in (True, False):
        output = model.train(training)(batch)
        assert output.logits.shape == (5, 4)
        assert output.embedding.shape == (5, options.hidden)
        assert torch.isfinite(output.logits).all()


def attention(conv, atoms, batch, basis):
    """A transformer's convolution, edge by edge and head by head."""
    heads, each = conv.heads, conv.out_channels
    query, key, value = (
        linear(atoms).view(-1, heads, each) for linear in (conv.lin_query, conv.lin_key, conv.lin_value)
    )
    of_edge = conv.lin_edge(basis).view(-1, heads, each)
    rows = []
    for i in range(len(atoms)):
        edges = [e for e, target in enumerate(batch.edge_index[1].tolist()) if target == i]
        total = torch.zeros(heads, each)
        for h in range(heads):
            scores = [query[i, h] @ (key[batch.edge_index[0, e], h] + of_edge[e, h]) / each**0.5 for e in edges]
            for e, share in zip(edges, torch.stack(scores).softmax(0) if edges else [], strict=True):
                total[h] += share * (value[batch.edge_index[0, e], h] + of_edge[e, h])
        rows.append(total.flatten() + conv.lin_skip(atoms[i]))
    return torch.stack(rows)


def test_attention_edge_by_edge():
    torch.manual_seed(0)
    model = build_model(small_transformer(), num_classes=2).eval()
    batch = random_batch(3, isolated=1)
    basis = torch.exp(-(((batch.distance[:, None] - model.basis.centres) / 0.2) ** 2))
    atoms = model.embedding(batch.z)
    for conv, norm in zip(model.convs, model.norms, strict=True):
        atoms = torch.nn.functional.softplus(atoms + norm(attention(conv, atoms, batch, basis)))
    pooled = torch.stack([atoms[batch.batch == k].mean(0) for k in range(3)])
    softplus = torch.nn.functional.softplus
    expected = softplus(model.conv_to_fc(softplus(pooled)))
    torch.testing.assert_close(model(batch).embedding, expected, atol=1e-5, rtol=1e-5)


def test_a_transformer_of_permuted_sites():
    model = build_model(small_transformer(), num_classes=2).eval()
    batch = random_batch(1)
    order = torch.randperm(batch.num_nodes, generator=torch.Generator().manual_seed(1))
    moved = join(
        [
            Data(
                z=batch.z[order],
                edge_index=order.argsort()[batch.edge_index],
                distance=batch.distance,
                num_nodes=batch.num_nodes,
            )
        ]
    )
    torch.testing.assert_close(model(moved), model(batch), atol=1e-5, rtol=1e-5)


def test_features_of_a_file_go_before_those_installed(monkeypatch):
    """A model predicts from the features that it was trained on."""
    table = np.random.default_rng(0).random((120, 92), dtype=np.float32)
    monkeypatch.setattr("matcard.models.crystal.atom_features", lambda: table)
    model = build_model(small(), num_classes=2)
    monkeypatch.undo()
    other = build_model(small(), num_classes=2)
    other.load_state_dict(model.state_dict())
    assert torch.equal(other.embedding.features, torch.from_numpy(table))


def test_elements_without_features():
    batch = random_batch()
    batch.z[2] = 104
    with pytest.raises(InputError, match=r"atomic number 104.*--model\.atom_features learned"):
        build_model(small(), num_classes=2)(batch)
    build_model(small(atom_features="learned"), num_classes=2)(batch)
