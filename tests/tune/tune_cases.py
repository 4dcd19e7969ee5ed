"""A study of quick networks on rows, and trials that play at training."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import optuna
import pandas as pd
import torch
from scipy.special import softmax

from matcard import tune as command
from matcard.study.objective import SCORES, PartScores
from matcard.study.storage import open_storage
from matcard.work.attempt import NoValueError

ROWS = (
    "--data.source=rows.csv",
    "--data.target=kind",
    "--model.name=mlp",
    "--model.hidden=16",
    "--trainer.batch_size=16",
    "--trainer.max_epochs=3",
    "--optimizer.lr=0.02",
    "--loss.name=cross_entropy",
    "--report=false",
)
SMOOTHING = (
    "loss.label_smoothing: {type: float, low: 0, high: 0.2}\noptimizer.lr: {type: float, low: 5e-3, high: 5e-2}\n"
)


def play(config, data, folder, line, *, keep_weights, callbacks=()):
    """In place of a training: the nearer the learning rate is to .01, the better are the scores, epoch by epoch."""
    if config.optimizer.lr > 1:
        raise NoValueError("the loss is not finite")
    folder.mkdir(parents=True, exist_ok=True)
    part, targets = data.parts["val"], data.codes[data.parts["val"]]
    noise = np.random.default_rng(config.seed).normal(size=(len(part), data.num_classes))
    skill = 3 - abs(math.log(config.optimizer.lr / 0.01)) - 5 * config.loss.label_smoothing
    for epoch in range(epochs := config.trainer.max_epochs):
        logits = noise + skill * (epoch + 1) / epochs * np.eye(data.num_classes)[targets]
        ids, names = data.set.samples.ids[part].astype(str), np.array(data.class_names)
        scores = PartScores(ids, targets, softmax(logits, axis=1), data.class_counts, names)
        metrics = {
            f"val_{name}": torch.tensor(value) for name, value in (scores.metrics() if callbacks else {}).items()
        }
        for callback in callbacks:
            callback.on_train_epoch_end(SimpleNamespace(callback_metrics=metrics, current_epoch=epoch), None)
    scores.save(folder / SCORES)
    return scores


def run(*argv):
    """Run the command on rows and give the study's table."""
    command.main([*ROWS, "--space=space.yaml", *argv])
    name = next(word.removeprefix("--study=") for word in argv if word.startswith("--study="))
    return pd.read_parquet(f"runs/studies/{name}/trials.parquet")


def trials_of(folder):
    """Read the trials of a study from its journal."""
    return optuna.load_study(study_name=None, storage=open_storage(None, folder)).get_trials()
