"""CGCNN against the formula in loops, against the obvious module, and its symmetries."""

from __future__ import annotations

import math
from copy import deepcopy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from model_cases import crystal, gradients, join, random_batch, randomize, small
from torch import nn
from torch.nn.functional import softplus
from torch_geometric.data import Data

from matcard.errors import InputError
from matcard.models import CGCNN, Output
from matcard.models import crystal as edges_module


class Obvious(nn.Module):
    """The network written down as in the paper, with autograd's own gradients, on a `CGCNN`'s weights."""

    def __init__(self, model: CGCNN) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Data) -> Output:
        model = self.model
        atoms = model.embedding(batch.z)
        centres = model.basis.centres
        gaussians = torch.exp(-(((batch.distance[:, None] - centres) / model.basis.var) ** 2))
        source, target = batch.edge_index
        for conv in model.convs:
            inner = conv.bn1(conv.fc_full(torch.cat([atoms[target], atoms[source], gaussians], 1)))
            gate, core = inner.chunk(2, 1)
            total = torch.zeros_like(atoms).index_add(0, target, torch.sigmoid(gate) * softplus(core))
            atoms = softplus(atoms + conv.bn2(total))
        pooled = torch.stack([atoms[batch.batch == k].mean(0) for k in range(batch.num_graphs)])
        hidden = softplus(model.conv_to_fc(softplus(pooled)))
        for layer in model.fcs:
            hidden = softplus(layer(hidden))
        return Output(model.fc_out(hidden), hidden)


def shuffled_edges(batch: Data, seed: int = 0) -> Data:
    order = torch.randperm(len(batch.distance), generator=torch.Generator().manual_seed(seed))
    changed = batch.clone()
    changed.edge_index, changed.distance = batch.edge_index[:, order], batch.distance[order]
    return changed


def test_the_formula_in_loops():
    torch.manual_seed(0)
    model = CGCNN(small(convolutions=1, width=3, hidden=4), 2)
    randomize(model)
    batch = random_batch(2, num_neighbors=3)
    conv = model.eval().convs[0]
    vectors = [(model.embedding.weight @ model.embedding.features[z] + model.embedding.bias).tolist() for z in batch.z]
    weight, bias = conv.fc_full.weight.tolist(), conv.fc_full.bias.tolist()

    def normalised(norm: nn.BatchNorm1d, k: int, value: float) -> float:
        centred = (value - norm.running_mean[k].item()) / math.sqrt(norm.running_var[k].item() + 1e-5)
        return centred * norm.weight[k].item() + norm.bias[k].item()

    def sp(value: float) -> float:
        return math.log1p(math.exp(value))

    new = []
    for i, vector in enumerate(vectors):
        total = [0.0] * 3
        for (j, centre), distance in zip(batch.edge_index.t().tolist(), batch.distance.tolist(), strict=True):
            if centre != i:
                continue
            gaussians = [math.exp(-((distance - 0.2 * k) ** 2) / 0.04) for k in range(41)]
            row = vector + vectors[j] + gaussians
            inner = [sum(w * x for w, x in zip(weight[k], row, strict=True)) + bias[k] for k in range(6)]
            inner = [normalised(conv.bn1, k, value) for k, value in enumerate(inner)]
            for k in range(3):
                total[k] += 1 / (1 + math.exp(-inner[k])) * sp(inner[3 + k])
        new.append([sp(vector[k] + normalised(conv.bn2, k, total[k])) for k in range(3)])
    for index in range(2):
        rows = [row for row, of in zip(new, batch.batch.tolist(), strict=True) if of == index]
        pooled = [sp(sum(row[k] for row in rows) / len(rows)) for k in range(3)]
        hidden = [
            sp(sum(w * x for w, x in zip(row, pooled, strict=True)) + b)
            for row, b in zip(model.conv_to_fc.weight.tolist(), model.conv_to_fc.bias.tolist(), strict=True)
        ]
        assert model(batch).embedding[index].tolist() == pytest.approx(hidden, abs=1e-5)
        logits = model.fc_out(torch.tensor(hidden))
        torch.testing.assert_close(model(batch).logits[index], logits, atol=1e-5, rtol=0)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("options", [{}, {"atom_features": "learned", "hidden_layers": 3}, {"dmin": 1.0, "dmax": 4.0}])
def test_outputs_gradients_and_running_statistics_of_the_obvious_module(options, training):
    torch.manual_seed(1)
    model = CGCNN(small(**options), 3)
    randomize(model)
    obvious = Obvious(deepcopy(model))
    batch = random_batch(6, num_neighbors=5)
    model.train(training)
    obvious.train(training)
    torch.testing.assert_close(model(batch), obvious(batch), atol=1e-5, rtol=1e-5)
    model.double()
    obvious.double()
    expected, actual = gradients(obvious, batch), gradients(model, batch)
    for name, gradient in expected.items():
        torch.testing.assert_close(actual[name], gradient, atol=1e-6, rtol=1e-6, msg=lambda m, n=name: f"{n}: {m}")
    torch.testing.assert_close(model.state_dict(), obvious.model.state_dict(), atol=1e-6, rtol=1e-6)


def test_agreement_at_real_widths_and_through_training_steps(monkeypatch):
    """Many blocks, 64/3/128; in float64, where any difference is one of method."""
    monkeypatch.setattr(edges_module, "BLOCK_EDGES", 100)
    torch.manual_seed(2)
    model = CGCNN(small(width=64, convolutions=3, hidden=128), 2).double()
    obvious = Obvious(deepcopy(model))
    batch = random_batch(12, num_neighbors=9)
    optimizers = [torch.optim.Adam(net.parameters(), 1e-2) for net in (model, obvious)]
    for _ in range(4):
        for net, optimizer in zip((model, obvious), optimizers, strict=True):
            gradients(net, batch)
            optimizer.step()
    torch.testing.assert_close(model(batch), obvious(batch), atol=1e-7, rtol=1e-7)
    torch.testing.assert_close(model.eval()(batch), obvious.eval()(batch), atol=2e-6, rtol=2e-6)


@pytest.mark.parametrize("training", [True, False])
def test_the_plain_sum_of_other_devices_is_the_folded_one(training):
    torch.manual_seed(3)
    model = CGCNN(small(), 2).train(training)
    randomize(model)
    plain = deepcopy(model)
    for conv in plain.convs:
        conv.sum_folded = conv.sum_plain
    batch = random_batch()
    expected, actual = gradients(plain, batch), gradients(model, batch)
    for name in expected:
        torch.testing.assert_close(actual[name], expected[name], atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(model.state_dict(), plain.state_dict(), atol=1e-6, rtol=1e-5)


def test_nearly_equal_edges_keep_their_variance():
    """The two ends' terms nearly cancel in the gate, and distances nearly agree: the batch variance is tiny."""
    torch.manual_seed(4)
    model = CGCNN(small(convolutions=1), 2)
    width = model.convs[0].width
    with torch.no_grad():
        weight = model.convs[0].fc_full.weight
        weight[:, width : 2 * width] = -weight[:, :width] * 0.999
    batch = random_batch()
    batch.z[:] = 8
    batch.z[0] = 16
    batch.distance = 2 + 1e-3 * torch.rand_like(batch.distance)
    obvious = Obvious(deepcopy(model).double())
    expected = obvious(batch)
    torch.testing.assert_close(model(batch).logits.double(), expected.logits, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("training", [True, False])
@given(seed=st.integers(0, 1000))
@settings(deadline=None, max_examples=15)
def test_order_of_sites_edges_and_crystals_is_no_matter(seed, training):
    torch.manual_seed(0)
    model = CGCNN(small(), 2).train(training)
    generator = torch.Generator().manual_seed(seed)
    graphs = [crystal(n, 3, generator, isolated=n % 2) for n in (3, 5, 4)]
    expected = deepcopy(model)(join(graphs))

    sites = [torch.randperm(graph.num_nodes, generator=generator) for graph in graphs]
    moved = []
    for graph, order in zip(graphs, sites, strict=True):
        place = order.argsort()
        moved.append(
            Data(
                z=graph.z[order], edge_index=place[graph.edge_index], distance=graph.distance, num_nodes=graph.num_nodes
            )
        )
    actual = deepcopy(model)(shuffled_edges(join(moved), seed))
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-5)

    crystals = torch.randperm(3, generator=generator).tolist()
    actual = deepcopy(model)(join([graphs[k] for k in crystals]))
    for part, whole in zip(actual[:2], expected[:2], strict=True):
        torch.testing.assert_close(part, whole[crystals], atol=1e-5, rtol=1e-5)


def test_in_evaluation_a_crystal_alone_is_the_crystal_in_a_batch():
    torch.manual_seed(0)
    model = CGCNN(small(), 2)
    randomize(model)
    model.eval()
    generator = torch.Generator().manual_seed(0)
    graphs = [crystal(n, 4, generator, isolated) for n, isolated in ((1, 0), (6, 0), (4, 2), (1, 1))]
    together = model(join(graphs))
    for index, graph in enumerate(graphs):
        alone = model(join([graph]))
        torch.testing.assert_close(alone.logits[0], together.logits[index], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("training", [True, False])
def test_atoms_without_edges_match_the_obvious_module(training):
    torch.manual_seed(0)
    model = CGCNN(small(), 2).train(training)
    obvious = Obvious(deepcopy(model))
    batch = random_batch(isolated=2)
    expected, actual = gradients(obvious, batch), gradients(model, batch)
    for name in expected:
        torch.testing.assert_close(actual[name], expected[name], atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize(("num_atoms", "num_edges"), [(1, 0), (3, 0), (1, 1), (4, 1), (1, 2)])
def test_batches_too_small_for_statistics_train_on_the_running_ones(num_atoms, num_edges):
    torch.manual_seed(0)
    model = CGCNN(small(), 2)
    randomize(model)
    before = deepcopy(model.state_dict())
    graph = Data(
        z=torch.arange(1, num_atoms + 1),
        edge_index=torch.zeros(2, num_edges, dtype=torch.long),
        distance=torch.linspace(2.0, 3.0, num_edges),
        num_nodes=num_atoms,
    )
    batch = join([graph])
    for gradient in gradients(model, batch).values():
        assert torch.isfinite(gradient).all()
    after = model.state_dict()
    for norm, count in (("convs.0.bn1", num_edges), ("convs.0.bn2", num_atoms)):
        moved = not torch.equal(before[f"{norm}.running_mean"], after[f"{norm}.running_mean"])
        assert moved == (count > 1)
        assert after[f"{norm}.num_batches_tracked"] == int(count > 1)
        assert torch.isfinite(after[f"{norm}.running_var"]).all()
    if num_edges < 2 and num_atoms < 2:
        training = model(batch).logits
        torch.testing.assert_close(training, model.eval()(batch).logits)


def test_two_forward_passes_before_the_backward():
    torch.manual_seed(0)
    model = CGCNN(small(), 2)
    first, second = random_batch(seed=1), random_batch(seed=2)
    (model(first).logits.sum() + model(second).logits.sum()).backward()
    together = model.fc_out.weight.grad.clone()
    model.zero_grad()
    model(first).logits.sum().backward()
    model(second).logits.sum().backward()
    torch.testing.assert_close(model.fc_out.weight.grad, together)


def test_a_deterministic_run_repeats_itself():
    batch = random_batch()
    torch.use_deterministic_algorithms(True)
    try:
        runs = []
        for _ in range(2):
            torch.manual_seed(0)
            runs.append(gradients(CGCNN(small(), 2), batch))
    finally:
        torch.use_deterministic_algorithms(False)
    for name, gradient in runs[0].items():
        assert torch.equal(gradient, runs[1][name]), name


def test_a_gate_that_cancels_exactly_stays_finite():
    """Each atom is its own neighbour and W v_i - W v_i is 0: rounding alone decides the sign of the variance."""
    torch.manual_seed(0)
    model = CGCNN(small(convolutions=1), 2)
    width = model.convs[0].width
    batch = random_batch()
    batch.edge_index = batch.edge_index[1].repeat(2, 1)
    batch.distance[:] = 2.0
    with torch.no_grad():
        weight = model.convs[0].fc_full.weight
        weight.mul_(1e8)
        weight[:, width : 2 * width] = -weight[:, :width]
    for gradient in gradients(model, batch).values():
        assert torch.isfinite(gradient).all()


def test_half_precision_of_autocast_stays_outside_the_convolution():
    torch.manual_seed(0)
    model = CGCNN(small(), 2).eval()
    batch = random_batch()
    exact = model(batch).logits
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = model(batch)
    rough.logits.float().sum().backward()
    assert torch.isfinite(model.convs[0].fc_full.weight.grad).all()
    torch.testing.assert_close(rough.logits.float(), exact, atol=0.05, rtol=0.05)


def test_dropout_leaves_the_embedding_whole_and_stands_before_the_head():
    torch.manual_seed(0)
    model = CGCNN(small(dropout=0.5), 2)
    twin = CGCNN(small(dropout=0.0), 2)
    twin.load_state_dict(model.state_dict())
    batch = random_batch()
    with_dropout, without = model(batch), twin(batch)
    torch.testing.assert_close(with_dropout.embedding, without.embedding)
    assert not torch.allclose(with_dropout.logits, without.logits)
    torch.testing.assert_close(model.eval()(batch), twin.eval()(batch))
    deep = CGCNN(small(dropout=0.5, hidden_layers=3), 2)
    calls = []
    deep.dropout.register_forward_hook(lambda *_: calls.append(1))
    output = deep(batch)
    assert len(calls) == 1, "the original's dropout stands after the first hidden layer only"
    torch.testing.assert_close(deep.fc_out(output.embedding), output.logits)
    assert not torch.allclose(deep(batch).embedding, output.embedding)


def test_edges_between_crystals_are_refused():
    batch = random_batch(2)
    batch.edge_index[0, 0] = batch.num_nodes - 1
    with pytest.raises(InputError, match="joins two crystals"):
        CGCNN(small(), 2)(batch)


def test_a_state_goes_round(tmp_path):
    torch.manual_seed(0)
    model = CGCNN(small(hidden_layers=2), 3)
    model(random_batch())
    torch.save(model.state_dict(), tmp_path / "state.pt")
    other = CGCNN(small(hidden_layers=2), 3)
    other.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    torch.testing.assert_close(other.eval()(random_batch()), model.eval()(random_batch()))


@pytest.mark.gpu
@pytest.mark.parametrize("training", [True, False])
def test_a_gpu_gives_what_a_cpu_gives(training):
    torch.manual_seed(0)
    model = CGCNN(small(), 2).train(training)
    twin = deepcopy(model).cuda()
    batch = random_batch()
    expected = gradients(model, batch)
    twin.zero_grad()
    logits, embedding, _ = twin(batch.to("cuda"))
    weights = torch.linspace(-1, 1, logits.numel() + embedding.numel(), device="cuda")
    (torch.cat([logits.flatten(), embedding.flatten()]).square() * weights).sum().backward()
    for name, weight in twin.named_parameters():
        torch.testing.assert_close(weight.grad.cpu(), expected[name], atol=1e-4, rtol=1e-3)
