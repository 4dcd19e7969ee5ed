"""What happens beside the training path: checkpoints, the metrics file, the screen, what a loss does."""

from __future__ import annotations

import io
import pickle
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pandas as pd
import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint, RichProgressBar

from matcard.errors import InputError, MatcardWarning
from matcard.files import written_whole
from matcard.invariants import magnitude, spread
from matcard.losses.error import error_points

if TYPE_CHECKING:
    from collections.abc import Sequence
    from os import PathLike

    from jaxtyping import Float, Int
    from lightning import LightningModule, Trainer
    from rich.console import Console
    from torch import Tensor, nn

    from matcard.losses import Loss
    from matcard.models.base import Output
    from matcard.training.rundir import RunDir

ERROR_SCALE = 10.0
"""Scale at which errors are counted, whatever the loss: those nearer than about a tenth count as one."""


class MetricsFile(Callback):
    """Writes `metrics.csv`: a row an epoch, every validation metric and every term of the loss.

    Rows are written before the epoch's checkpoint; a resumed run drops those of epochs that it repeats.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._rows: list[dict[Any, str]] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep the rows of finished epochs."""
        if self.path.is_file():
            table = pd.read_csv(self.path, dtype=str, keep_default_na=False)
            self._rows = table[table["epoch"].astype(int) < trainer.current_epoch].to_dict("records")

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the file anew, whole, and move it into place."""
        if not trainer.is_global_zero:
            return
        values = {name: f"{value.item():.10g}" for name, value in sorted(trainer.logged_metrics.items())}
        self._rows.append({"epoch": str(trainer.current_epoch), **values})
        with written_whole(self.path) as beside:
            pd.DataFrame(self._rows).to_csv(beside, index=False)


class Speed(Callback):
    """Measures samples a second over the training steps of the current epoch, all ranks together.

    Where the screen is a file or a pipe and a moving bar would be noise, it prints a line an epoch.

    Args:
        unit: what samples are called.
        shown: what is logged and shown beside the speed.
        console: what is printed to.
    """

    def __init__(self, unit: str, shown: tuple[str, ...], console: Console) -> None:
        self.samples, self.seconds, self._began = 0, 0.0, 0.0
        self.unit = unit
        self.shown = shown
        self.console = console

    @property
    def rate(self) -> float:
        """Samples a second."""
        return self.samples / self.seconds if self.seconds else 0.0

    def scores(self, trainer: Trainer) -> dict[str, float]:
        """Give what is shown, as far as it was logged."""
        logged = trainer.callback_metrics
        return {name: logged[name].item() for name in self.shown if name in logged}

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin anew."""
        self.samples, self.seconds, self._began = 0, 0.0, time.perf_counter()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count the batch."""
        of_both = [part for part in (batch if isinstance(batch, list) else [batch]) if part is not None]
        self.samples += sum(len(part.y) for part in of_both) * trainer.world_size
        self.seconds = time.perf_counter() - self._began

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the epoch just finished."""
        if trainer.is_global_zero and not self.console.is_terminal:
            words = "  ".join(f"{name} {value:.3f}" for name, value in self.scores(trainer).items())
            rate = f"{self.rate:.0f} {self.unit}/s"
            self.console.print(f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}  {words}  {rate}")


class ProgressBar(RichProgressBar):
    """Lightning's bar with samples a second and the epoch's validation scores."""

    def __init__(self, speed: Speed) -> None:
        super().__init__(refresh_rate=4)
        self._speed = speed

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """Give what stands at the right of the bar."""
        return {f"{self._speed.unit}/s": f"{self._speed.rate:.0f}", **self._speed.scores(trainer)}


class Patience(EarlyStopping):
    """Lightning's early stopping; a run that was killed once it had stopped stays stopped when it is resumed."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.wait_count >= self.patience:
            trainer.should_stop = True


class CollapseGuard(Callback):
    """Warns once when an epoch predicts a single class, and says what to change.

    The first two epochs are left alone: most networks begin by predicting the majority.
    """

    _warned = False

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look at the epoch's predictions."""
        if self._warned or trainer.current_epoch < 2 or not trainer.is_global_zero:
            return
        if trainer.callback_metrics["val_classes_predicted"].item() == 1:
            self._warned = True
            advice = cast("Loss", pl_module.loss).collapse_advice()
            warnings.warn(f"epoch {trainer.current_epoch + 1} predicts one class only: {advice}", MatcardWarning, 2)


class Diagnostics(Callback):
    """Logs, an epoch at a time, each class's share of the gradient and the number of effective errors.

    * `gradient_share_<class>`: sum over the class's samples of |dL/dh|, h being the embedding that feeds the head, by
      the sum over all samples. Where the encoder is frozen, the logits stand in for h. All ranks together.
    * `effective_errors_magnitude`, `effective_errors_spread`: |t (E u {0})| - 1 of the errors E = {onehot(y) - p} of a
      device's batch at t = `ERROR_SCALE`, the mean over batches.

    They are of the training steps, as these go along: gradients before they are clipped, errors under dropout.

    Args:
        class_names: the C names.
    """

    def __init__(self, class_names: Sequence[str]) -> None:
        self._names = class_names
        self._targets: Tensor | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Look at what the network gives."""
        self._handle = cast("nn.Module", pl_module.model).register_forward_hook(self._watch)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Look no more."""
        self._handle.remove()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin anew."""
        self._pull = torch.zeros(len(self._names), device=pl_module.device)
        self._effective = torch.zeros(2, device=pl_module.device)
        self._batches = 0

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Keep the classes of the batch for when its gradient comes."""
        self._targets = (batch[0] if isinstance(batch, list) else batch).y

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the epoch of training steps that has just ended."""
        pull, effective = (
            trainer.strategy.reduce(values, reduce_op=how)
            for values, how in ((self._pull, "sum"), (self._effective / max(1, self._batches), "mean"))
        )
        values = {f"gradient_share_{name}": share for name, share in zip(self._names, pull / pull.sum(), strict=True)}
        values |= dict(zip(("effective_errors_magnitude", "effective_errors_spread"), effective, strict=True))
        pl_module.log_dict(values)

    def _watch(self, model: torch.nn.Module, arguments: tuple[Any, ...], output: Output) -> None:
        watched = output.embedding if output.embedding.requires_grad else output.logits
        targets, self._targets = self._targets, None  # what comes after them has no classes
        if targets is None or not (model.training and watched.requires_grad):
            return

        def add(gradient: Float[Tensor, "N D"]) -> None:
            self._pull.index_add_(0, targets, torch.linalg.vector_norm(gradient.float(), dim=1))

        watched.register_hook(add)  # type: ignore[no-untyped-call]
        self._effective += effective_errors(output.logits.detach().float(), targets)
        self._batches += 1


def effective_errors(logits: Float[Tensor, "N C"], targets: Int[Tensor, " N"]) -> Float[Tensor, " 2"]:
    """Count the distinct errors of a batch, by magnitude and by spread, beside the point "no error"."""
    points = error_points(logits, targets, 2.0)
    return torch.stack([count(points, ERROR_SCALE, origin=True) - 1 for count in (magnitude, spread)]).to(logits)


class WholeCheckpoints(TorchCheckpointIO):
    """Writes a checkpoint beside its place and moves it there.

    Lightning writes to the system's temporary folder and copies from there, which a kill or a full disk cuts short.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | PathLike[str], storage_options: Any | None = None
    ) -> None:
        """Save a checkpoint; the old one stays where that fails."""
        # By way of memory: torch tells of a full disk as a broken archive, a plain write as what it is.
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        with written_whole(Path(path)) as beside:
            beside.write_bytes(buffer.getbuffer())


class EpochCheckpoint(ModelCheckpoint):
    """Lightning's, which forgets the best score of a run whose directory was moved or copied."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the state up, with its files where the run lies now."""

        def moved(path: str) -> str:
            return str(Path(str(self.dirpath)) / Path(path).name) if path else path

        paths = {name: moved(value) for name, value in state_dict.items() if name.endswith("_path")}
        best = {moved(path): score for path, score in state_dict["best_k_models"].items()}
        super().load_state_dict({**state_dict, **paths, "best_k_models": best, "dirpath": self.dirpath})


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint onto the CPU.

    Raises:
        InputError: a damaged file.
    """
    content = path.read_bytes()
    try:
        return dict(torch.load(io.BytesIO(content), weights_only=True, map_location="cpu"))
    except (RuntimeError, EOFError, KeyError, ValueError, OSError, pickle.UnpicklingError) as error:
        advice = "delete it to begin at best.ckpt, or both to begin anew" if path.stem == "last" else "train again"
        raise InputError(f"{path} is damaged ({type(error).__name__}): copy it again, or {advice}") from error


def checkpoint_to_resume(run: RunDir) -> tuple[Path | None, str]:
    """Choose the checkpoint that a begun run goes on from, and say which; None where it begins at its first epoch.

    Raises:
        InputError: a damaged file.
    """
    for path in (run.last, run.best):
        if path.is_file():
            epoch = int(read_checkpoint(path)["epoch"]) + 1
            lost = "" if path == run.last else f"{run.last} is missing: "
            return path, f"{lost}goes on after epoch {epoch}" + (f", by {path}; later epochs are lost" if lost else "")
    if run.metrics.is_file():
        return None, f"{run.checkpoints} has no checkpoint: begins anew, and writes {run.metrics} over"
    return None, ""
