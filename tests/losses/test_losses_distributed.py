"""Two processes with unequal batches: loss and gradient are those of one process with the whole batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from loss_cases import case_id
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from matcard.losses import MagnitudeLoss, build_loss

if TYPE_CHECKING:
    from pathlib import Path

COUNTS = [60, 25, 15]
CASES: list[tuple[str, dict[str, Any]]] = [
    ("cross_entropy", {"label_smoothing": 0.1}),
    ("weighted_cross_entropy", {}),
    ("brier", {}),
    ("error", {}),
    ("error", {"combine": "add", "base": "class_balanced", "scale": "median"}),
    ("error", {"invariant": "spread", "reduction": "mean"}),
    ("reweight", {}),
    ("reweight", {"invariant": "spread", "scale": 3.0}),
    ("triplet", {}),
    ("triplet", {"invariant": "spread", "combine": "add", "anchors": "class-aware"}),
    ("per_class", {}),
    ("effective_number", {"invariant": "spread", "base": "class_balanced"}),
    ("error", {"warmup": 1}),
    ("reweight", {"invariant": "spread", "memory": 9, "warmup_ramp": 1}),
    ("per_class", {"memory": 9}),
]
STEPS = [(11, 4), (3, 0)]
"""Rows of each of the two processes: a whole batch, and a last one that does not go round."""


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Linear(5, 6), nn.Tanh()).double()
        self.head = nn.Linear(6, 3).double()

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        h = self.body(x)
        return self.head(h), h


def batch(step: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(step)
    size = sum(STEPS[step])
    x = torch.randn(size, 5, generator=generator, dtype=torch.float64)
    return x, torch.arange(size).remainder(7).clamp_max(2)


def train(case: tuple[str, dict[str, Any]], rank: int | None) -> dict[str, list[Any]]:
    """Two epochs of two steps with plain descent; all losses and gradients, the leaves' and the parameters'."""
    name, options = case
    network = Network()
    model = network if rank is None else DistributedDataParallel(network)
    loss = build_loss(name, class_counts=COUNTS, seed=2, **options)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    told: dict[str, list[Any]] = {"loss": [], "leaf": [], "weights": []}
    for epoch in range(2):
        loss.on_epoch(epoch, 2)
        for step, sizes in enumerate(STEPS):
            x, y = batch(step)
            if rank is not None:
                x, y = x.split(sizes)[rank], y.split(sizes)[rank]
            z, h = model(x)
            z.retain_grad()
            h.retain_grad()
            result = loss(z, y, h)
            optimizer.zero_grad()
            result.backward()
            optimizer.step()
            told["loss"].append(result.item())
            told["leaf"].append(torch.cat([z.grad, h.grad], 1))
            told["weights"].append([weight.grad.clone() for weight in network.parameters()])
    return told


def own_rows(rank: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(rank)
    return torch.randn(5 - rank, 3, generator=generator), torch.arange(5 - rank) % 3


def worker(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    try:
        results = [train(case, rank) for case in CASES]
        half = MagnitudeLoss()(torch.ones(2 - rank, 3).bfloat16(), torch.arange(2 - rank), None)
        alone = MagnitudeLoss().eval()(*own_rows(rank))
        torch.save({"cases": results, "half": half, "alone": alone}, f"{folder}/{rank}.pt")
    finally:
        distributed.destroy_process_group()


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder: Path = tmp_path_factory.mktemp("processes")
    torch.multiprocessing.spawn(worker, (str(folder),), nprocs=2)
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


@pytest.mark.skipif(not distributed.is_available(), reason="this torch has no distributed package")
@pytest.mark.parametrize("number", range(len(CASES)), ids=[case_id(case) for case in CASES])
def test_loss_and_gradients_are_those_of_one_process(processes, number) -> None:
    alone, ranks = train(CASES[number], None), [process["cases"][number] for process in processes]
    for step, expected in enumerate(alone["loss"]):
        assert [rank["loss"][step] for rank in ranks] == pytest.approx([expected] * 2, rel=1e-12, abs=1e-12)
        # DDP averages over two processes, so each row's gradient is twice its own.
        gathered = torch.cat([rank["leaf"][step] for rank in ranks])
        torch.testing.assert_close(gathered, 2 * alone["leaf"][step], rtol=1e-9, atol=1e-12)
        for rank in ranks:
            torch.testing.assert_close(rank["weights"][step], alone["weights"][step], rtol=1e-9, atol=1e-12)


def test_the_cases_would_differ_if_each_process_kept_to_its_own_rows() -> None:
    x, y = batch(0)
    for name, options in CASES[3:8]:
        loss = build_loss(name, class_counts=COUNTS, **options)
        z, h = Network()(x)
        parts = [loss(z[rows], y[rows], h[rows]).item() for rows in (slice(0, 11), slice(11, 15))]
        assert abs(sum(parts) / 2 - loss(z, y, h).item()) > 1e-4


def test_half_precision_is_gathered(processes) -> None:
    expected = MagnitudeLoss()(torch.ones(3, 3), torch.tensor([0, 1, 0]))
    for process in processes:
        torch.testing.assert_close(process["half"], expected)


def test_in_evaluation_each_process_keeps_to_its_own_rows(processes) -> None:
    for rank, process in enumerate(processes):
        torch.testing.assert_close(process["alone"], MagnitudeLoss()(*own_rows(rank)))
