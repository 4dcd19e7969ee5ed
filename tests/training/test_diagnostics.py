"""Shares of the gradient and effective errors: by hand, and in whole runs."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from matcard.losses import build_loss
from matcard.models.base import Output
from matcard.training.callbacks import ERROR_SCALE, Diagnostics, effective_errors
from matcard.training.config import parse_config
from matcard.training.run import resume, train

if TYPE_CHECKING:
    from matcard.training.rundir import RunDir

NAMES = ["common", "rare", "rarest"]


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.encoder, self.head = nn.Linear(5, 4), nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> Output:
        h = self.encoder(x).tanh()
        return Output(self.head(h), h)


class Module(nn.Module):
    """As much of a LightningModule as the callback reads."""

    device = torch.device("cpu")

    def __init__(self) -> None:
        super().__init__()
        self.model, self.logged = Network(), {}

    def log_dict(self, values) -> None:
        self.logged = {name: float(value) for name, value in values.items()}


TRAINER = SimpleNamespace(strategy=SimpleNamespace(reduce=lambda values, reduce_op: values))


def batches():
    generator = torch.Generator().manual_seed(1)
    for n in (12, 7):
        y = torch.randint(3, (n,), generator=generator)
        yield torch.randn(n, 5, generator=generator), y


def watched(module: Module, loss) -> dict[str, float]:
    """Two steps without descent, seen by the callback, and an evaluation that it does not count."""
    seen = Diagnostics(NAMES)
    seen.setup(TRAINER, module, "fit")
    seen.on_train_epoch_start(TRAINER, module)
    for index, (x, y) in enumerate(batches()):
        seen.on_train_batch_start(TRAINER, module, SimpleNamespace(y=y), index)
        output = module.model(x)
        loss(output.logits, y, output.embedding).backward()
    module.eval()
    with torch.no_grad():
        module.model(torch.randn(4, 5))
    module.model(torch.randn(4, 5)).logits.sum().backward()
    seen.on_validation_epoch_end(TRAINER, module)
    seen.teardown(TRAINER, module, "fit")
    assert not module.model._forward_hooks
    return module.logged


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("cross_entropy", {}),
        ("error", {"scale": 2.0}),
        ("reweight", {"invariant": "spread"}),
        ("triplet", {"combine": "divide"}),
    ],
)
def test_shares_are_those_of_the_gradient_of_each_embedding(name, options) -> None:
    network, pull = Network(), np.zeros(3)
    loss = build_loss(name, **options)
    for x, y in batches():
        h = network.encoder(x).tanh().detach().requires_grad_()
        (gradient,) = torch.autograd.grad(loss(network.head(h), y, h), h)
        for row, label in zip(gradient.double().numpy(), y.tolist(), strict=True):
            pull[label] += (row**2).sum() ** 0.5
    logged = watched(Module(), build_loss(name, **options))
    shares = [logged[f"gradient_share_{label}"] for label in NAMES]
    np.testing.assert_allclose(shares, pull / pull.sum(), rtol=1e-4)


def test_a_frozen_encoder_leaves_the_logits() -> None:
    module, pull = Module(), np.zeros(3)
    for weight in module.model.encoder.parameters():
        weight.requires_grad_(False)
    for x, y in batches():
        logits = module.model(x).logits.detach().double()
        errors = nn.functional.one_hot(y, 3) - logits.softmax(1)
        np.add.at(pull, y.numpy(), errors.norm(dim=1).numpy() / len(y))
    logged = watched(module, build_loss("cross_entropy"))
    np.testing.assert_allclose([logged[f"gradient_share_{label}"] for label in NAMES], pull / pull.sum(), rtol=1e-4)


def test_effective_errors_are_the_mean_over_batches() -> None:
    network, counted = Network(), []
    for x, y in batches():
        errors = (nn.functional.one_hot(y, 3) - network(x).logits.softmax(1)).detach().double().numpy()
        points = np.vstack([errors, np.zeros(3)])
        zeta = np.exp(-ERROR_SCALE * np.linalg.norm(points[:, None] - points[None], axis=2))
        counted.append((np.linalg.inv(zeta).sum() - 1, (1 / zeta.sum(1)).sum() - 1))
    logged = watched(Module(), build_loss("cross_entropy"))
    expected = np.mean(counted, axis=0)
    assert logged["effective_errors_magnitude"] == pytest.approx(expected[0], rel=1e-4)
    assert logged["effective_errors_spread"] == pytest.approx(expected[1], rel=1e-4)


@pytest.mark.parametrize("classes", [2, 7])
def test_what_is_counted(classes) -> None:
    y = torch.arange(40) % classes
    right = 50.0 * nn.functional.one_hot(y, classes)
    torch.testing.assert_close(effective_errors(right, y), torch.zeros(2), rtol=0, atol=1e-6)
    # Everybody gets the same probabilities: as many errors as classes, whatever the size of the batch.
    alike = effective_errors(torch.zeros(40, classes), y)
    assert alike[0] == pytest.approx(classes, rel=0.02)
    assert alike[1] < alike[0]
    torch.manual_seed(0)
    assert effective_errors(torch.randn(40, classes), y)[0] > alike[0]


def test_no_gradient_has_no_shares() -> None:
    logged = watched(Module(), lambda logits, y, h: 0 * logits.sum())
    assert np.isnan([logged[f"gradient_share_{label}"] for label in NAMES]).all()


def options(table, run, *more: str) -> list[str]:
    return [
        f"--data.source={table}", "--data.target=kind", "--data.jobs=1", "--trainer.batch_size=16",
        "--trainer.max_epochs=2", "--model.width=8", "--model.hidden=8", "--trainer.accelerator=cpu",
        f"--run_dir={run}", "--report=false", *more,
    ]  # fmt: skip


def run_here(*argv: str) -> RunDir:
    return train(parse_config(argv, prog="python -m matcard.train", description=""))


@pytest.fixture(scope="module")
def told(small_table, tmp_path_factory) -> RunDir:
    """A run that logs them."""
    path = tmp_path_factory.mktemp("runs") / "told"
    os.environ["MATCARD_CACHE"] = str(tmp_path_factory.getbasetemp() / "cache")
    return run_here(*options(small_table, path, "--trainer.diagnostics=true"))


def test_a_run_logs_them_and_trains_as_without(told, small_table, tmp_path) -> None:
    plain = run_here(*options(small_table, tmp_path / "plain"))
    rows, others = pd.read_csv(told.metrics), pd.read_csv(plain.metrics)
    new = [name for name in rows if name not in others]
    shares = [name for name in new if name.startswith("gradient_share_")]
    assert [name.removeprefix("gradient_share_") for name in shares] == ["caesium", "rocksalt", "zincblende"]
    np.testing.assert_allclose(rows[shares].sum(axis=1), 1, rtol=1e-5)
    assert set(new) == {*shares, "effective_errors_magnitude", "effective_errors_spread"}
    assert (rows["effective_errors_magnitude"] > 0).all()
    pd.testing.assert_frame_equal(rows[others.columns], others)


def test_a_resumed_run_goes_on_with_them(told, small_table, tmp_path, monkeypatch) -> None:
    begin, path = Diagnostics.on_train_epoch_start, tmp_path / "killed"

    def stop(self, trainer, pl_module) -> None:
        if trainer.current_epoch == 1:
            raise KeyboardInterrupt
        begin(self, trainer, pl_module)

    monkeypatch.setattr(Diagnostics, "on_train_epoch_start", stop)
    with pytest.raises(KeyboardInterrupt):
        run_here(*options(small_table, path, "--trainer.diagnostics=true"))
    monkeypatch.setattr(Diagnostics, "on_train_epoch_start", begin)
    pd.testing.assert_frame_equal(pd.read_csv(resume(path).metrics), pd.read_csv(told.metrics))
