"""The collapse guard, the metrics file."""

from __future__ import annotations

import csv
import warnings
from types import SimpleNamespace

import pytest
import torch

from matcard.errors import MatcardWarning
from matcard.losses import MagnitudeLoss
from matcard.training.callbacks import CollapseGuard, MetricsFile


def trainer(epoch: int, **metrics: float) -> SimpleNamespace:
    values = {name: torch.tensor(value) for name, value in metrics.items()}
    return SimpleNamespace(current_epoch=epoch, is_global_zero=True, callback_metrics=values, logged_metrics=values)


def test_a_collapse_is_told_once_with_advice():
    guard, module = CollapseGuard(), SimpleNamespace(loss=MagnitudeLoss())
    with pytest.warns(MatcardWarning, match="epoch 3 predicts one class only: .*--loss.combine add"):
        guard.on_validation_end(trainer(2, val_classes_predicted=1.0), module)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        guard.on_validation_end(trainer(3, val_classes_predicted=1.0), module)


@pytest.mark.parametrize(("epoch", "classes"), [(0, 1.0), (1, 1.0), (5, 2.0)])
def test_no_collapse_is_not_told(epoch, classes):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        CollapseGuard().on_validation_end(trainer(epoch, val_classes_predicted=classes), None)


def test_a_resumed_metrics_file_repeats_no_epoch(tmp_path):
    path = tmp_path / "metrics.csv"
    first = MetricsFile(path)
    first.on_train_start(trainer(0), None)
    for epoch in range(3):
        first.on_train_epoch_end(trainer(epoch, loss=float(epoch)), None)
    again = MetricsFile(path)
    again.on_train_start(trainer(2), None)
    again.on_train_epoch_end(trainer(2, loss=9.0, more=1.0), None)
    with path.open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["epoch"], row["loss"], row["more"]) for row in rows] == [
        ("0", "0", ""),
        ("1", "1", ""),
        ("2", "9", "1"),
    ]
