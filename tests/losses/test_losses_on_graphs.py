"""The losses on the graph embeddings of a network, inside bf16 training, on a CPU and on a GPU."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from loss_cases import CASES as ALL
from loss_cases import case_id, made
from torch_geometric.data import Data

from matcard.losses import Loss, build_loss
from matcard.models import CGCNN, CGCNNOptions

COUNTS = [8, 4]
EMBEDDING = {"name": "triplet", "scale": 2.0, "lambda_base": 1.0, "lambda_invariant": 0.3}
MODES: list[dict[str, Any]] = [
    *({**EMBEDDING, "combine": combine} for combine in ("add", "divide", "multiply", "ratio")),
    {**EMBEDDING, "name": "per_class", "unit_norm": True},
    {"name": "reweight", "scale": 3.0},
]
CASES = [(invariant, mode) for invariant in ("magnitude", "spread") for mode in MODES]
# A median scale follows the errors as they shrink, so that such a loss need not fall.
EVERY_LOSS = [case for case in ALL if case[1].get("scale") != "median"]
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


def crystals() -> tuple[Data, torch.Tensor]:
    """Twelve graphs of three atoms, each joined to both others; the rarer four are of other elements."""
    generator = torch.Generator().manual_seed(0)
    targets = torch.tensor([0, 0, 1] * 4)
    inside = torch.tensor([[1, 2, 0, 2, 0, 1], [0, 0, 1, 1, 2, 2]])
    z = torch.randint(1, 40, (12, 3), generator=generator) + 40 * targets[:, None]
    batch = Data(
        z=z.flatten(),
        edge_index=torch.cat([inside + 3 * k for k in range(12)], 1),
        distance=2 + 4 * torch.rand(72, generator=generator),
        batch=torch.arange(12).repeat_interleave(3),
        ptr=torch.arange(0, 37, 3),
        num_graphs=12,
        num_nodes=36,
    )
    return batch, targets


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_training_in_bf16_with_invariants_in_float64(case, device: str) -> None:
    invariant, options = case
    batch, targets = (each.to(device) for each in crystals())
    torch.manual_seed(0)
    model = CGCNN(CGCNNOptions(width=6, hidden=10, convolutions=2, dropout=0.0), 2).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    loss = made(invariant, class_counts=COUNTS, **options).to(device)

    def forward(loss: Loss[Any]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        with torch.autocast(device, dtype=torch.bfloat16):
            logits, embedding, _ = model(batch)
            return loss(logits, targets, embedding), logits, embedding

    def evaluate() -> tuple[float, float]:
        """The loss, which must be what float64 makes of the same outputs, and cross-entropy."""
        with torch.no_grad():
            value, logits, embedding = forward(loss.eval())
        assert (value.dtype, logits.dtype) == (torch.float32, torch.bfloat16)
        reference = loss(logits.double(), targets, embedding.double())
        torch.testing.assert_close(value.double(), reference, rtol=1e-5, atol=1e-6)
        return float(value), float(torch.nn.functional.cross_entropy(logits.float(), targets))

    before = evaluate()
    loss.train()
    for _ in range(20):
        optimizer.zero_grad()
        forward(loss)[0].backward()
        assert all(weight.grad.isfinite().all() for weight in model.parameters())
        assert model.embedding.weight.grad.abs().max() > 0
        optimizer.step()
    after = evaluate()
    assert after[0] < before[0]
    assert after[1] < before[1] / 2


@pytest.mark.parametrize("case", EVERY_LOSS, ids=case_id)
def test_every_loss_trains_the_network(case) -> None:
    name, options = case
    batch, targets = crystals()
    torch.manual_seed(0)
    model = CGCNN(CGCNNOptions(width=6, hidden=10, convolutions=1, dropout=0.0), 3)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    loss = build_loss(name, class_counts=[6, 4, 2], **options)

    def value() -> torch.Tensor:
        logits, embedding, _ = model(batch)
        return loss(logits, targets, embedding)

    with torch.no_grad():
        loss.eval()
        before = float(value())
    loss.train()
    for _ in range(12):
        optimizer.zero_grad()
        value().backward()
        assert model.embedding.weight.grad.abs().max() > 0
        optimizer.step()
    with torch.no_grad():
        loss.eval()
        assert float(value()) < before
