"""A run from its configuration to its files: read, split, fit, choose the best epoch, test once."""

from __future__ import annotations

import logging
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import lightning
import numpy as np
import torch
from lightning.fabric.utilities.warnings import PossibleUserWarning
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
from rich.progress import MofNCompleteColumn, Progress

from matcard.cli import NOT_WRITABLE, make_console
from matcard.data.prepare import prepare, read_labelled
from matcard.errors import InputError
from matcard.evaluation.metrics import classification_metrics, higher_is_better
from matcard.evaluation.tables import class_count_table
from matcard.losses import build_loss
from matcard.models import build_model, initialize
from matcard.models.options import CrystalModelOptions
from matcard.training.callbacks import CollapseGuard, EpochLines, MetricsFile, Patience, ProgressBar, Speed
from matcard.training.checkpoints import WholeCheckpoints
from matcard.training.config import config_to_dict
from matcard.training.data import DataModule
from matcard.training.module import TrainingModule
from matcard.training.results import write_results
from matcard.training.rundir import RunDir, write_text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rich.console import Console

    from matcard.data.prepare import CrystalData, LabelledTable
    from matcard.training.options import Config, TrainerOptions

FORMAT_VERSION = 1


def train(config: Config, console: Console | None = None) -> RunDir:
    """Train a new run and give its directory.

    Raises:
        InputError: options or input that cannot be used; what is wrong and what to do.
        TrainingError: the loss stopped being finite.
    """
    # What can be known to be wrong is told before the data are read.
    higher_is_better(config.trainer.monitor)
    _device(config.trainer)
    if not isinstance(config.model, CrystalModelOptions):
        raise InputError(f"--model.name {config.model.name} takes table rows; for crystals use cgcnn or transformer")
    labelled = read_labelled(config.data)
    return _carry_out(RunDir.create(config), config, labelled, console or make_console())


def resume(path: Path, console: Console | None = None) -> RunDir:
    """Go on with a killed run from its last finished epoch.

    Raises:
        InputError: not a run's directory, a finished run, or data that have changed since.
    """
    run = RunDir.open(path)
    if run.test_metrics.is_file():
        raise InputError(f"{path} is finished: its test metrics are in {run.test_metrics}")
    config = run.load_config()
    return _carry_out(run, config, read_labelled(config.data), console or make_console())


def _carry_out(run: RunDir, config: Config, labelled: LabelledTable, console: Console) -> RunDir:
    crystals = _prepared(run, config, labelled, console)
    lightning.seed_everything(config.seed, workers=True, verbose=False)
    data = DataModule(
        crystals.dataset, crystals.split, crystals.codes, crystals.class_names, config.trainer, config.seed
    )
    console.print(
        class_count_table(data.class_names, {part: data.count(part) for part in data.parts}, labelled.left_out_counts)
    )
    if len(labelled.unlabelled):
        console.print(f"{len(labelled.unlabelled)} rows without a target are left out, see {run.left_out}")
    for name, count in labelled.lost_classes.items():
        console.print(f"{count} rows left out are of class {name!r}, which has no row that can be used")
    for note in crystals.notes(config.data.graph):
        console.print(note)
    check_monitor(config.trainer.monitor, data)
    module = build_module(config, data)
    trainer = build_trainer(config, run, console)
    begun = run.last.is_file()
    if not begun and (report := initialize(module.model, config.model)):
        console.print(f"start from {report}")
    with _told_where(run):
        with warnings.catch_warnings():
            # Lightning's guesses at what might be slow: batches come whole from memory, workers would not help.
            warnings.simplefilter("ignore", PossibleUserWarning)
            warnings.filterwarnings("ignore", "Checkpoint directory .* exists and is not empty")  # a resumed run's
            trainer.fit(module, data, ckpt_path=run.last if begun else None, weights_only=True)
        if trainer.is_global_zero:
            best = torch.load(run.best, weights_only=True, map_location="cpu")
            module.load_state_dict(best["state_dict"])
            write_results(run, module, data, crystals.ids, console)
    return run


def _prepared(run: RunDir, config: Config, labelled: LabelledTable, console: Console) -> CrystalData:
    """Write what was left out, build the graphs, and split; or split as the run did before it was killed."""
    labelled.write_left_out(run.left_out)
    labelled.check_left_out(config.data.max_left_out, run.left_out)
    saved = run.split.read_text(encoding="utf-8") if run.split.is_file() else None
    with Progress(*Progress.get_default_columns(), MofNCompleteColumn(), console=console, transient=True) as bar:
        task = bar.add_task("crystals to graphs", total=len(labelled.table))
        data = prepare(
            labelled,
            config.data,
            seed=config.seed,
            saved_split=saved,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    if saved is None:
        # The split last: where it is found, by a resumed run or by another process, the fingerprint is there too.
        write_text(run.fingerprint, data.fingerprint + "\n")
        write_text(run.split, data.split.to_json(data.ids))
    elif run.fingerprint.read_text(encoding="utf-8").strip() != data.fingerprint:
        raise InputError(
            f"--resume {run.path}: the labels of {config.data.source} have changed since the run began; start a new run"
        )
    return data


def check_monitor(monitor: str, data: DataModule) -> None:
    """Refuse a metric that the validation part does not define, whatever is predicted.

    Raises:
        InputError: the metric of a perfect prediction is NaN.
    """
    targets = data.codes[data.parts["val"]]
    perfect = np.eye(data.num_classes)[targets]
    metrics = classification_metrics(targets, perfect, class_names=data.class_names, train_counts=data.class_counts)
    if np.isnan(metrics[monitor]):
        raise InputError(
            f"--trainer.monitor {monitor} is undefined on the validation part, which holds "
            f"{', '.join(repr(data.class_names[c]) for c in np.unique(targets))} only; choose another metric, such as "
            "macro_f1, or another --data.split"
        )


@contextmanager
def _told_where(run: RunDir) -> Iterator[None]:
    """Say what is kept where Ctrl-C (an exit, by way of Lightning) or a disk that takes no more ends a run."""
    kept = f"finished epochs are kept; go on with --resume {run.path}"
    try:
        yield
    except SystemExit as stopped:
        raise KeyboardInterrupt(kept) from stopped
    except OSError as error:
        if error.errno not in NOT_WRITABLE:
            raise
        raise InputError(f"{run.path} cannot be written ({error.strerror}): make room; {kept}") from error


def build_module(config: Config, data: DataModule) -> TrainingModule:
    """Make the network and the loss of a configuration for the classes of a data set."""
    loss = build_loss(config.loss, class_counts=data.class_counts.tolist(), seed=config.seed)
    model = build_model(config.model, num_classes=data.num_classes)
    description = {
        "format_version": FORMAT_VERSION,
        "config": config_to_dict(config),
        "class_names": list(data.class_names),
        "class_counts": data.class_counts.tolist(),
    }
    return TrainingModule(
        model,
        loss,
        data,
        config.optimizer,
        epochs=config.trainer.max_epochs,
        monitor=config.trainer.monitor,
        seed=config.seed,
        description=description,
    )


def build_trainer(config: Config, run: RunDir, console: Console) -> lightning.Trainer:
    """Make Lightning's trainer with the callbacks that write the run's files."""
    options = config.trainer
    # What Lightning says of devices and of other products is no news to who trains crystals.
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    monitor = f"val_{options.monitor}"
    mode = "max" if higher_is_better(options.monitor) else "min"
    speed = Speed()
    shown = (
        "train_loss",
        monitor,
        *(name for name in ("val_minority_recall", "val_macro_f1") if name != monitor),
    )
    callbacks: list[Any] = [
        speed,
        MetricsFile(run.metrics),
        CollapseGuard(config.loss),
        ProgressBar(speed, "crystals", shown) if console.is_terminal else EpochLines(console, speed, "crystals", shown),
        ModelCheckpoint(
            run.checkpoints,
            filename="best",
            monitor=monitor,
            mode=mode,
            save_last=True,
            save_on_train_epoch_end=True,
            enable_version_counter=False,
        ),
    ]
    if options.patience:
        callbacks.append(
            # An undefined metric (MCC of an epoch that predicts one class) is no better metric, and no reason to stop.
            Patience(monitor, mode=mode, patience=options.patience, check_finite=False, check_on_train_epoch_end=True)
        )
    accelerator, precision = _device(options)
    return lightning.Trainer(
        accelerator=accelerator,
        devices=options.devices,
        strategy="ddp" if options.devices != 1 else "auto",
        precision=precision,
        max_epochs=options.max_epochs,
        gradient_clip_val=options.gradient_clip or None,
        deterministic=options.deterministic,
        sync_batchnorm=options.devices != 1 and accelerator == "gpu",
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        logger=TensorBoardLogger(run.path, name="", version="tensorboard"),
        callbacks=callbacks,
        plugins=[WholeCheckpoints()],
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
    if accelerator == "gpu" and isinstance(options.devices, int) and options.devices > torch.cuda.device_count():
        raise InputError(
            f"--trainer.devices {options.devices}: torch sees {torch.cuda.device_count()} CUDA devices here"
        )
    if options.precision != "auto":
        return accelerator, options.precision
    half = accelerator == "gpu" and torch.cuda.is_bf16_supported()
    return accelerator, "bf16-mixed" if half else "32-true"
