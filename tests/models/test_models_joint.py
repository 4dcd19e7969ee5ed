"""Graphs beside descriptors: what is computed, what is clipped, what is learned, and what a frozen encoder keeps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from model_cases import random_batch, small

from matcard.batch import Standard
from matcard.models.build import DescriptorEncoder, JointModel
from matcard.models.cgcnn import CGCNN

MEAN, DEVIATION = np.array([1.0, -2.0, 0.0]), np.array([2.0, 0.5, 1.0])


def batch_of(num_crystals: int = 5, seed: int = 0):
    batch = random_batch(num_crystals, seed)
    batch.descriptors = 3 * torch.randn(num_crystals, 3, generator=torch.Generator().manual_seed(seed))
    return batch


def joint(**options) -> JointModel:
    torch.manual_seed(0)
    return JointModel(CGCNN(small(), 3), Standard(MEAN, DEVIATION), 3, **{"width": 7, "dropout": 0.0, **options})


def test_as_the_formula_stands() -> None:
    model, batch = joint().eval(), batch_of()
    graph = CGCNN(small(), 3).eval()
    graph.load_state_dict(
        {**model.graph.state_dict(), "fc_out.weight": torch.zeros(3, 10), "fc_out.bias": torch.zeros(3)}
    )
    first, second = model.descriptors.layers[0], model.descriptors.layers[3]
    x = ((batch.descriptors - torch.tensor(MEAN)) / torch.tensor(DEVIATION)).float().clip(-5, 5)
    encoded = torch.relu(torch.relu(x @ first.weight.T + first.bias) @ second.weight.T + second.bias)
    both = torch.cat([graph(batch).embedding, encoded], dim=1)
    embedding = torch.relu(both @ model.joint.weight.T + model.joint.bias)
    output = model(batch)
    torch.testing.assert_close(output.embedding, embedding)
    torch.testing.assert_close(output.logits, embedding @ model.fc_out.weight.T + model.fc_out.bias)


def test_far_descriptors_are_clipped() -> None:
    encoder = DescriptorEncoder(Standard(MEAN, DEVIATION), width=4, dropout=0.0)
    far = torch.tensor([[1e6, -1e6, 7.0]])
    at_the_edge = torch.tensor([[1 + 5 * 2.0, -2 - 5 * 0.5, 5.0]])
    torch.testing.assert_close(encoder(far), encoder(at_the_edge))


def test_both_sources_are_learned_from_and_dropout_acts_in_training_alone() -> None:
    model, batch = joint(dropout=0.5), batch_of(40)
    assert not torch.equal(model(batch).logits, model(batch).logits)
    model.eval()
    assert torch.equal(model(batch).logits, model(batch).logits)
    model.train()
    model(batch).logits.square().sum().backward()
    for name, weight in model.named_parameters():
        assert weight.grad is not None, name
        # A bias before batch norm changes nothing.
        assert name.endswith("fc_full.bias") or weight.grad.abs().sum() > 0, name


def test_mean_and_deviation_travel_with_the_weights() -> None:
    other = JointModel(CGCNN(small(), 3), Standard(np.zeros(3), np.ones(3)), 3, width=7, dropout=0.0)
    other.load_state_dict(joint().state_dict())
    batch = batch_of()
    torch.testing.assert_close(other.eval()(batch).logits, joint().eval()(batch).logits)
    assert JointModel.constants <= joint().state_dict().keys()


def test_a_frozen_encoder_keeps_both_sources() -> None:
    model = joint(dropout=0.5)
    model.freeze()
    learned = {name for name, weight in model.named_parameters() if weight.requires_grad}
    assert learned == {"fc_out.weight", "fc_out.bias"}
    batch = batch_of()
    torch.testing.assert_close(model(batch).embedding, model.eval()(batch).embedding)


@pytest.mark.gpu
def test_on_a_gpu() -> None:
    model, batch = joint().eval(), batch_of()
    expected = model(batch).logits
    torch.testing.assert_close(model.cuda()(batch.to("cuda")).logits.cpu(), expected, rtol=1e-4, atol=1e-4)
