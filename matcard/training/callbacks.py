"""What happens beside the training path: the metrics file, the screen, the collapse guard."""

from __future__ import annotations

import csv
import time
import warnings
from typing import TYPE_CHECKING, Any

from lightning.pytorch.callbacks import Callback, EarlyStopping, RichProgressBar

from matcard.errors import MatcardWarning
from matcard.files import written_whole
from matcard.losses import collapse_advice

if TYPE_CHECKING:
    from pathlib import Path

    from lightning import LightningModule, Trainer
    from rich.console import Console


class MetricsFile(Callback):
    """Writes `metrics.csv`: a row an epoch, every validation metric and every term of the loss.

    Rows are written before the epoch's checkpoint; a resumed run drops those of epochs that it repeats.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._rows: list[dict[str, str]] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep the rows of finished epochs."""
        if self.path.is_file():
            with self.path.open(newline="", encoding="utf-8") as file:
                self._rows = [row for row in csv.DictReader(file) if int(row["epoch"]) < trainer.current_epoch]

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the file anew, whole, and move it into place."""
        if not trainer.is_global_zero:
            return
        values = {name: f"{value.item():.10g}" for name, value in sorted(trainer.logged_metrics.items())}
        self._rows.append({"epoch": str(trainer.current_epoch), **values})
        names = list(dict.fromkeys(name for row in self._rows for name in row))
        with written_whole(self.path) as beside, beside.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, names)
            writer.writeheader()
            writer.writerows(self._rows)


class Speed(Callback):
    """Measures samples a second over the training steps of the current epoch, all ranks together."""

    def __init__(self) -> None:
        self.samples = 0
        self.seconds = 0.0
        self._began = 0.0

    @property
    def rate(self) -> float:
        """Samples a second."""
        return self.samples / self.seconds if self.seconds else 0.0

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin anew."""
        self.samples, self.seconds, self._began = 0, 0.0, time.perf_counter()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count the batch."""
        self.samples += len(batch.y) * trainer.world_size
        self.seconds = time.perf_counter() - self._began


class ProgressBar(RichProgressBar):
    """Lightning's bar with samples a second and the epoch's validation scores."""

    def __init__(self, speed: Speed, unit: str, shown: tuple[str, ...]) -> None:
        super().__init__(refresh_rate=4)
        self._speed = speed
        self._unit = unit
        self._shown = shown

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """Give what stands at the right of the bar."""
        scores = {
            name: trainer.callback_metrics[name].item() for name in self._shown if name in trainer.callback_metrics
        }
        return {f"{self._unit}/s": f"{self._speed.rate:.0f}", **scores}


class EpochLines(Callback):
    """Prints a line an epoch where the screen is a file or a pipe and a moving bar would be noise."""

    def __init__(self, console: Console, speed: Speed, unit: str, shown: tuple[str, ...]) -> None:
        self._console = console
        self._speed = speed
        self._unit = unit
        self._shown = shown

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the epoch just finished."""
        if not trainer.is_global_zero:
            return
        scores = trainer.callback_metrics
        words = [f"{name} {scores[name].item():.3f}" for name in self._shown if name in scores]
        rate = f"{self._speed.rate:.0f} {self._unit}/s"
        self._console.print(f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}  {'  '.join(words)}  {rate}")


class Patience(EarlyStopping):
    """Lightning's early stopping; a run that was killed once it had stopped stays stopped when it is resumed."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.wait_count >= self.patience:
            trainer.should_stop = True


class CollapseGuard(Callback):
    """Warns once when an epoch predicts a single class, and says what to change.

    Epochs before `patience` are left alone: most networks begin by predicting the majority.
    """

    def __init__(self, options: Any, patience: int = 3) -> None:
        self._options = options
        self._patience = patience
        self._warned = False

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look at the epoch's predictions."""
        if self._warned or trainer.current_epoch + 1 < self._patience or not trainer.is_global_zero:
            return
        if trainer.callback_metrics["val_classes_predicted"].item() == 1:
            self._warned = True
            advice = collapse_advice(self._options)
            warnings.warn(f"epoch {trainer.current_epoch + 1} predicts one class only: {advice}", MatcardWarning, 2)
