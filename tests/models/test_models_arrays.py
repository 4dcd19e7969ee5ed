"""Networks on arrays: standardisation, ResNet and GlassNet against slow formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch_geometric.data import Data

from matcard.data.options import ABOUT
from matcard.errors import InputError
from matcard.models import (
    CGCNNOptions,
    Classifier,
    GlassNetOptions,
    MLPOptions,
    ResNetOptions,
    build_model,
    check_model,
)
from matcard.models.resnet import Block

SMALL = {
    "resnet": (ResNetOptions(depth=8, width=4), (3, 8, 8)),
    "glassnet": (GlassNetOptions(width=8, heads=2, hidden=6, rank=3), (5,)),
    "mlp": (MLPOptions(hidden=6), (5,)),
}


def made(name, **more):
    torch.manual_seed(0)
    options, shape = SMALL[name]
    return build_model(options, num_classes=3, input_shape=shape, **more), shape


def batch_of(shape, n=7, seed=0):
    return Data(x=torch.rand(n, *shape, generator=torch.Generator().manual_seed(seed)))


@pytest.mark.parametrize("name", SMALL)
def test_sizes_and_gradients(name):
    model, shape = made(name)
    for n in (7, 2):
        output = model.train()(batch_of(shape, n))
        assert output.logits.shape == (n, 3)
        assert output.embedding.shape == (n, model.fc_out.in_features)
    (output.logits.square().sum() + output.embedding.sum()).backward()
    for weight_name, weight in model.named_parameters():
        assert weight.grad is not None, weight_name
        assert torch.isfinite(weight.grad).all()
    assert model.fc_out.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("name", SMALL)
def test_a_batch_of_one_is_trained_on(name):
    model, shape = made(name)
    output = model.train()(batch_of(shape, 1))
    output.logits.sum().backward()
    assert torch.isfinite(output.logits).all()


@pytest.mark.parametrize("name", SMALL)
def test_samples_do_not_see_each_other_in_evaluation(name):
    model, shape = made(name)
    model.train()(batch_of(shape))
    model.eval()
    batch = batch_of(shape, 6, seed=1)
    alone = torch.cat([model(Data(x=batch.x[k : k + 1])).logits for k in range(6)])
    torch.testing.assert_close(model(batch).logits, alone, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ["mlp", "resnet"])
def test_mean_and_deviation_are_the_models(name):
    _, shape = made(name)
    rng = np.random.default_rng(0)
    mean, std = (rng.random((shape[0], *(1 for _ in shape[1:]))).astype(np.float32) + 1 for _ in range(2))
    plain, _ = made(name)
    model, _ = made(name, mean=mean, std=std)
    batch = batch_of(shape)
    by_hand = Data(x=(batch.x - torch.from_numpy(mean)) / torch.from_numpy(std))
    torch.testing.assert_close(model.eval()(batch).logits, plain.eval()(by_hand).logits)
    plain.load_state_dict(model.state_dict())
    torch.testing.assert_close(plain(batch).logits, model(batch).logits)


def test_rows_of_an_image_one_after_another():
    model = build_model(MLPOptions(hidden=4, hidden_layers=1), num_classes=2, input_shape=(2, 3, 3))
    batch = batch_of((2, 3, 3))
    flat = Data(x=batch.x.reshape(7, -1))
    plain = build_model(MLPOptions(hidden=4, hidden_layers=1), num_classes=2, input_shape=(18,))
    weights = {name: value for name, value in model.state_dict().items() if name not in ("mean", "std")}
    plain.load_state_dict(weights, strict=False)
    torch.testing.assert_close(model(batch).logits, plain(flat).logits)


def convolved(x, weight, stride):
    """A 3 x 3 convolution in loops."""
    n, _, height, width = x.shape
    framed = torch.zeros(n, x.shape[1], height + 2, width + 2)
    framed[:, :, 1:-1, 1:-1] = x
    rows, columns = range(0, height, stride), range(0, width, stride)
    out = torch.zeros(n, len(weight), len(rows), len(columns))
    for i, y in enumerate(rows):
        for j, z in enumerate(columns):
            out[:, :, i, j] = torch.einsum("ncyx,ocyx->no", framed[:, :, y : y + 3, z : z + 3], weight)
    return out


def normalised(x, norm):
    mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3), unbiased=False)
    scaled = (x - mean[:, None, None]) / (variance[:, None, None] + norm.eps).sqrt()
    return scaled * norm.weight[:, None, None] + norm.bias[:, None, None]


@pytest.mark.parametrize(("before", "after", "stride"), [(4, 4, 1), (4, 8, 2)])
def test_a_block_in_loops(before, after, stride):
    torch.manual_seed(0)
    block = Block(before, after)
    x = torch.randn(3, before, 6, 6)
    inner = normalised(convolved(x, block.conv1.weight, stride), block.norm1).clamp(min=0)
    inner = normalised(convolved(inner, block.conv2.weight, 1), block.norm2)
    kept = x[:, :, ::stride, ::stride]
    zeros = torch.zeros(3, (after - before) // 2, *kept.shape[2:])
    beside = torch.cat([zeros, kept, zeros], 1)
    torch.testing.assert_close(block(x), (inner + beside).clamp(min=0), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("depth", "parameters"), [(20, 0.27e6), (32, 0.46e6), (56, 0.85e6)])
def test_the_sizes_of_he_et_al(depth, parameters):
    """Table 6 of arXiv:1512.03385."""
    model = build_model(ResNetOptions(depth=depth), num_classes=10, input_shape=(3, 32, 32))
    assert sum(weight.numel() for weight in model.parameters()) == pytest.approx(parameters, rel=0.02)
    layers = [m for m in model.modules() if isinstance(m, torch.nn.Conv2d | torch.nn.Linear)]
    assert len(layers) == depth


def test_maps_are_halved_twice():
    model, _ = made("resnet")
    maps = torch.rand(2, 4, 9, 8)
    sizes = []
    for stage in model.stages:
        maps = stage(maps)
        sizes.append(tuple(maps.shape[1:]))
    assert sizes == [(4, 9, 8), (8, 5, 4), (16, 3, 2)]


@pytest.mark.parametrize("shape", [(5,), (1, 4, 8)])
def test_what_is_no_image_or_too_small(shape):
    with pytest.raises(InputError, match="takes images of 5 x 5 pixels"):
        build_model(ResNetOptions(depth=8), num_classes=2, input_shape=shape)


@torch.no_grad()
def test_glassnet_component_by_component():
    model, _ = made("glassnet")
    model.eval()
    model.norm.running_mean.copy_(torch.rand(6))
    model.norm.running_var.copy_(torch.rand(6) + 0.5)
    batch = batch_of((5,), 4)
    attention = model.attention
    width, heads = 8, 2
    each = width // heads
    maps = list(zip(attention.in_proj_weight.split(width), attention.in_proj_bias.split(width), strict=True))
    expected = []
    for shares in batch.x:
        h = [shares[k] * model.components[k] for k in range(5)]
        graph = torch.zeros(5, 5)
        for i in range(5):
            raw = [max(float(model.sources[i] @ model.targets[j]), 0.0) for j in range(5)]
            total = sum(math.exp(value) for value in raw)
            graph[i] = torch.tensor([math.exp(value) / total for value in raw])
        h = [h[i] + (model.exchange.weight @ sum(graph[i, j] * h[j] for j in range(5))).clamp(min=0) for i in range(5)]
        query, key, value = ([weight @ x + bias for x in h] for weight, bias in maps)
        attended = []
        for i in range(5):
            pieces = []
            for k in range(heads):
                own = slice(k * each, (k + 1) * each)
                scores = torch.stack([query[i][own] @ key[j][own] / math.sqrt(each) for j in range(5)]).softmax(0)
                pieces.append(sum(scores[j] * value[j][own] for j in range(5)))
            attended.append(attention.out_proj(torch.cat(pieces)))
        pooled = sum(h[i] + attended[i] for i in range(5))
        projected = model.project(pooled)
        norm = model.norm
        projected = (projected - norm.running_mean) / (norm.running_var + norm.eps).sqrt() * norm.weight + norm.bias
        out = model.out(projected.clamp(min=0))
        expected.append(out / out.norm())
    torch.testing.assert_close(model(batch).embedding, torch.stack(expected), atol=1e-5, rtol=1e-4)


def test_glassnet_embeds_on_the_sphere_and_is_noisy_in_training_alone():
    model, shape = made("glassnet")
    batch = batch_of(shape)
    torch.testing.assert_close(model(batch).embedding.norm(dim=1), torch.ones(7))
    assert not torch.equal(model.train()(batch).embedding, model.train()(batch).embedding)
    model.eval()
    assert torch.equal(model(batch).embedding, model(batch).embedding)
    options = GlassNetOptions(width=8, heads=2, hidden=6, rank=3, noise=0.0)
    quiet = build_model(options, num_classes=3, input_shape=(5,)).train()
    torch.testing.assert_close(quiet(batch).embedding, quiet(batch).embedding)


@pytest.mark.parametrize(
    ("made_by", "says"),
    [
        (lambda: ResNetOptions(depth=18), "depth is 18: expected 8, 14"),
        (lambda: ResNetOptions(depth=2), "depth is 2"),
        (lambda: ResNetOptions(width=0), "width of model 'resnet' is 0"),
        (lambda: GlassNetOptions(heads=3), "not a multiple of --model.heads 3"),
        (lambda: GlassNetOptions(noise=-0.1), "noise of model 'glassnet' is -0.1"),
        (lambda: GlassNetOptions(rank=0), "rank of model 'glassnet' is 0"),
    ],
)
def test_options_out_of_range(made_by, says):
    with pytest.raises(InputError, match=says):
        made_by()


def test_every_kind_has_a_model_that_takes_it():
    for kind in ("crystals", "compositions", "images", "table"):
        check_model(Classifier.find(ABOUT[kind].network).options_class(), kind)


@pytest.mark.parametrize(
    ("options", "kind", "says"),
    [
        (CGCNNOptions(), "images", "cgcnn takes crystals; for images use mlp or resnet"),
        (ResNetOptions(), "crystals", "resnet takes images; for crystals use cgcnn or transformer"),
        (GlassNetOptions(), "table", "glassnet takes compositions; for table rows use mlp"),
        (MLPOptions(), "crystals", "mlp takes crystals by numbers: say which with --data.descriptors"),
    ],
)
def test_a_model_must_fit_the_data(options, kind, says):
    with pytest.raises(InputError, match=says):
        check_model(options, kind)
