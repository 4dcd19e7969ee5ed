"""The training itself: network, loss and trainer of a configuration, fitted, back at the best epoch."""

from __future__ import annotations

import logging
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning
import numpy as np
import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.utilities.warnings import PossibleUserWarning
from lightning.pytorch.loggers import TensorBoardLogger

from matcard.cli import NOT_WRITABLE
from matcard.data.kinds import kind_of
from matcard.errors import InputError, listed
from matcard.evaluation.metrics import classification_metrics, higher_is_better
from matcard.losses import build_loss
from matcard.models import build_model, check_model, load_weights
from matcard.training.callbacks import (
    CollapseGuard,
    Diagnostics,
    EpochCheckpoint,
    MetricsFile,
    Patience,
    ProgressBar,
    Speed,
    WholeCheckpoints,
    checkpoint_to_resume,
    read_checkpoint,
)
from matcard.training.module import TrainingModule

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lightning.pytorch.callbacks import Callback
    from rich.console import Console

    from matcard.training.batches import DataModule
    from matcard.training.options import Config, TrainerOptions
    from matcard.training.rundir import RunDir


_FLUSH = 5
"""Seconds between writes for TensorBoard; an interrupted writer may wait as long before it ends."""
COMPILED_FROM = 20_000
"""Crystals times epochs from which numba's start of one to two seconds is made up for."""


def check_config(config: Config) -> None:
    """Tell what can be known to be wrong before any data are read.

    Raises:
        InputError: no such metric or device, or a model that does not take such data.
    """
    higher_is_better(config.trainer.monitor)
    _device(config.trainer)
    check_model(config.model, kind_of(config.data), config.data.descriptors)


def fit(
    run: RunDir,
    config: Config,
    data: DataModule,
    console: Console,
    callbacks: Sequence[Callback] = (),
    begin: Callable[[], None] = lambda: None,
) -> TrainingModule | None:
    """Train, or go on where the run's directory has a checkpoint, and load the weights of the epoch that is kept.

    Args:
        run: where checkpoints and metrics are written.
        config: network, loss, optimiser, trainer and seed.
        data: batches of the three parts; the test part is not looked at.
        console: what the progress is shown on.
        callbacks: more of Lightning's callbacks than a run has by itself.
        begin: called once all is accepted, before anything is written.

    Returns:
        The trained module, on the device that it was trained on, in the first process of several; None in the others.

    Raises:
        InputError: a monitored metric that the validation part does not define, a damaged checkpoint, or a full disk.
        TrainingError: the loss stopped being finite.
    """
    _check_monitor(config.trainer.monitor, data)
    lightning.seed_everything(config.seed, workers=True, verbose=False)
    module = build_module(config, data)
    told = [Diagnostics(data.class_names)] if config.trainer.diagnostics else []
    trainer = build_trainer(config, run, console, [*told, *callbacks], unit=data.set.unit)
    checkpoint, how = checkpoint_to_resume(run)
    if how and trainer.is_global_zero:
        console.print(how, soft_wrap=True, markup=False)
    if checkpoint is None and config.model.init_from is not None:
        said = load_weights(module.model, Path(config.model.init_from), new_head=config.model.freeze)
        console.print(f"start from {said}")
    begin()
    kept = f"finished epochs are kept; go on with --resume {run.path}"
    try:
        with warnings.catch_warnings():
            # Lightning's guesses at what might be slow: batches come whole from memory, workers would not help.
            warnings.simplefilter("ignore", PossibleUserWarning)
            warnings.filterwarnings("ignore", "Checkpoint directory .* exists and is not empty")  # a resumed run's
            warnings.filterwarnings("ignore", ".*LeafSpec", FutureWarning)  # how Lightning asks torch
            trainer.fit(module, data, ckpt_path=checkpoint, weights_only=True)
        if not trainer.is_global_zero:
            return None
        module.load_state_dict(read_checkpoint(getattr(run, config.trainer.keep))["state_dict"])
    except SystemExit as stopped:  # Ctrl-C, by way of Lightning
        raise KeyboardInterrupt(kept) from stopped
    except OSError as error:
        if error.errno not in NOT_WRITABLE:
            raise
        why = f"{run.path} cannot be written ({error.strerror}): make room, or change its rights"
        raise InputError(f"{why}; {kept}") from error
    # Lightning leaves a module on the CPU; what follows scores whole parts with it.
    module = module.to(trainer.strategy.root_device)
    module.choose_mix()
    return module


def _check_monitor(monitor: str, data: DataModule) -> None:
    """Refuse a metric that the validation part does not define, whatever is predicted: NaN of a perfect prediction."""
    targets = data.codes[data.parts["val"]]
    perfect = np.eye(data.num_classes)[targets]
    metrics = classification_metrics(targets, perfect, class_names=data.class_names, train_counts=data.class_counts)
    if np.isnan(metrics[monitor]):
        raise InputError(
            f"--trainer.monitor {monitor} is undefined on the validation part, which holds "
            f"{listed(repr(data.class_names[c]) for c in np.unique(targets))} only; choose another metric, such as "
            "macro_f1, or another --data.split"
        )


def build_module(config: Config, data: DataModule) -> TrainingModule:
    """Make the network and the loss of a configuration for the classes of a data set.

    Raises:
        InputError: a compiled route is asked for that is not there.
    """
    loss = build_loss(config.loss, class_counts=data.drawn_counts.tolist(), seed=config.seed)
    num_values = 0 if data.values is None else len(data.values.names)
    model = build_model(config.model, num_classes=data.num_classes, num_values=num_values, **data.set.model_arguments)
    # The compiled route where that is asked for or pays, the same in a resumed run.
    kernel, work = config.trainer.cpu_kernel, config.trainer.max_epochs * len(data.parts["train"])
    if (kernel == "numba" or (kernel == "auto" and work >= COMPILED_FROM)) and not model.fuse() and kernel == "numba":
        raise InputError(
            "--trainer.cpu_kernel numba: this network has no compiled route, or numba is not installed; "
            "pip install -e '.[fast]' in matcard's folder, or leave the option out"
        )
    return TrainingModule(model, loss, data, config)


def build_trainer(
    config: Config, run: RunDir, console: Console, callbacks: Sequence[Callback] = (), *, unit: str = "samples"
) -> lightning.Trainer:
    """Make Lightning's trainer with the callbacks that write the run's files."""
    options = config.trainer
    # What Lightning says of devices and of other products is no news to who trains crystals.
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    monitor = f"val_{options.monitor}"
    mode = "max" if higher_is_better(options.monitor) else "min"
    speed = Speed(unit, tuple(dict.fromkeys(("train_loss", monitor, "val_minority_recall", "val_macro_f1"))), console)
    ended: dict[str, Any] = {"save_on_train_epoch_end": True, "enable_version_counter": False}
    own: list[Callback] = [
        speed,
        MetricsFile(run.metrics),
        CollapseGuard(),
        *([ProgressBar(speed)] if console.is_terminal else []),
        # The best epoch, then the last one: ModelCheckpoint's own `save_last` follows the best since Lightning 2.6.
        EpochCheckpoint(run.checkpoints, filename=run.best.stem, monitor=monitor, mode=mode, **ended),
        EpochCheckpoint(run.checkpoints, filename=run.last.stem, **ended),
    ]
    if options.patience:
        own.append(
            # An undefined metric (MCC of an epoch that predicts one class) is no better metric, and no reason to stop.
            Patience(monitor, mode=mode, patience=options.patience, check_finite=False, check_on_train_epoch_end=True)
        )
    accelerator, precision = _device(options)
    several = options.devices != 1 or options.num_nodes != 1
    return lightning.Trainer(
        accelerator=accelerator,
        devices=options.devices,
        num_nodes=options.num_nodes,
        strategy="ddp" if several else "auto",
        precision=precision,
        max_epochs=options.max_epochs,
        gradient_clip_val=options.gradient_clip or None,
        deterministic=options.deterministic,
        sync_batchnorm=several and accelerator == "gpu",
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        logger=TensorBoardLogger(run.path, name="", version="tensorboard", flush_secs=_FLUSH),
        callbacks=[*own, *callbacks],
        # One process is one, whoever started it: srun starts the workers of a study, too.
        plugins=[WholeCheckpoints(), *([] if several else [LightningEnvironment()])],
        enable_model_summary=False,
        enable_progress_bar=console.is_terminal,
        log_every_n_steps=1,
    )


def _device(options: TrainerOptions) -> tuple[str, Any]:
    accelerator = options.accelerator
    if accelerator == "auto":
        accelerator = "gpu" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    if accelerator == "gpu" and not torch.cuda.is_available():
        raise InputError("--trainer.accelerator gpu: torch sees no CUDA device here; use auto or cpu")
    if accelerator == "mps" and not torch.backends.mps.is_available():
        raise InputError("--trainer.accelerator mps: torch sees no Apple GPU here; use auto or cpu")
    there = {"gpu": torch.cuda.device_count(), "cpu": os.cpu_count() or 1}.get(accelerator, 1)
    if accelerator != "mps" and isinstance(options.devices, int) and options.devices > there:
        what = "CUDA devices" if accelerator == "gpu" else "cores"
        raise InputError(f"--trainer.devices {options.devices}: there are {there} {what} here; give as many at most")
    if options.precision != "auto":
        return accelerator, options.precision
    half = accelerator == "gpu" and torch.cuda.is_bf16_supported()
    return accelerator, "bf16-mixed" if half else "32-true"
