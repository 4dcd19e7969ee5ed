"""One network and one loss, trained by Lightning: the training path, top to bottom."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import lightning
import numpy as np
import torch

from matcard.errors import TrainingError
from matcard.evaluation.metrics import classification_metrics, higher_is_better
from matcard.evaluation.value import ValueMix, value_metrics
from matcard.models.base import evaluated_norms
from matcard.models.value import value_loss
from matcard.prediction.network import CentroidClassifier, Network, Scores, read_out
from matcard.ranks import gather_objects

if TYPE_CHECKING:
    from torch import Tensor

    from matcard.losses.base import Loss
    from matcard.models.base import Classifier
    from matcard.training.batches import DataModule
    from matcard.training.options import Config

PLATEAU_FACTOR = 1 / 3
PLATEAU_PATIENCE = 5


class TrainingModule(lightning.LightningModule):
    """Trains `model` with `loss` and measures the whole validation part after each epoch.

    Args:
        model: maps a batch to `Output(logits (N, C), embedding (N, F), values (N, V) or None)`.
        loss: called as `loss(logits, targets, embeddings)`.
        data: knows the classes and the training part; the centroids of embedding-only losses are fitted on it.
        config: optimiser, length, the weight of predicted numbers, and the seed, which seeds dropout together with
            epoch and step, so that a resumed run repeats an uninterrupted one.

    Attributes:
        mix: what the number says of the classes, once training has ended; None before, and where there is no number.
    """

    def __init__(
        self,
        model: Classifier,
        loss: Loss[Any],
        data: DataModule,
        config: Config,
    ) -> None:
        super().__init__()
        self.model = model
        self.loss = loss
        self.centroids = None if loss.trains_head else CentroidClassifier()
        self.data = data
        self.config = config
        self.mix: ValueMix | None = None
        self._epoch_losses: list[Tensor] = []
        self._epoch_terms: dict[str, list[Tensor | float]] = {}
        self._scores: list[Scores] = []

    @property
    def network(self) -> Network:
        """The model, with the centroid classifier in place of its head where no loss trains the head."""
        return Network(self.model, self.centroids, self.data.scale, self.mix)

    def choose_mix(self) -> None:
        """Choose on the validation part what the number behind the classes says of them, where there is one."""
        values = self.data.values
        if values is not None and values.edges:
            found = read_out(self.network, self.data.eval_dataloader("val"))
            self.mix = ValueMix.fit(values.edges, values.classes, found.numbers[:, 0], found.heads, found.targets)

    def on_train_epoch_start(self) -> None:
        self.loss.on_epoch(self.current_epoch, self.config.trainer.max_epochs)
        self._epoch_losses = []
        self._epoch_terms = {}

    def on_train_batch_start(self, batch: Any, batch_index: int) -> None:
        # Loaders draw from the generator too, and not alike in a resumed run: what a step draws starts here.
        # A sequence of seeds gives neighbouring seeds and epochs unrelated values.
        numbers = (self.config.seed, self.current_epoch, batch_index, self.global_rank)
        seed = int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))
        # torch.manual_seed looks at every kind of device there might be: a tenth of a small network's step.
        torch.default_generator.manual_seed(seed)
        if self.device.type != "cpu":
            torch.get_device_module(self.device).manual_seed(seed)

    def training_step(self, given: Any, batch_index: int) -> Tensor:
        batch, unlabelled = given if isinstance(given, list) else (given, None)
        output = self.model(self.data.set.augmented(batch))
        loss: Tensor = self.loss(output.logits, batch.y, output.embedding)
        terms = dict(self.loss.terms)
        if output.values is not None:
            predicted, numbers = output.values, batch.numbers
            if unlabelled is not None:
                with evaluated_norms(self.model):  # these batches may be of a single sample
                    beside = self.model(self.data.set.augmented(unlabelled)).values
                predicted, numbers = torch.cat([predicted, beside]), torch.cat([numbers, unlabelled.numbers])
            error = value_loss(predicted.float(), numbers)
            loss = loss + self.config.value.weight * error
            terms["value"] = error.detach()
        self._epoch_losses.append(loss.detach())
        for name, term in terms.items():
            self._epoch_terms.setdefault(name, []).append(term)
        return loss

    def on_validation_epoch_start(self) -> None:
        self._scores = []
        if self.centroids is not None:
            train = read_out(Network(self.model, None), self.data.eval_dataloader("train"))
            embeddings, targets = (torch.from_numpy(a).to(self.device) for a in (train.embeddings, train.targets))
            self.centroids.fit(embeddings, targets, self.data.num_classes)

    def validation_step(self, batch: Any, batch_index: int) -> None:
        scores = Scores.of(self.network, batch)
        self._scores.append(scores._replace(embeddings=scores.embeddings[:, :0]))  # not gathered over ranks

    def on_validation_epoch_end(self) -> None:
        scores = Scores.join(gather_objects(self._scores))
        train_loss = torch.stack(self._epoch_losses).mean().item()
        if not (np.isfinite(train_loss) and np.isfinite(scores.probabilities).all()):
            raise TrainingError(
                f"the loss or the predictions of epoch {self.current_epoch} are not finite: lower --optimizer.lr (now "
                f"{self.config.optimizer.lr}) or --trainer.gradient_clip; the checkpoints of earlier epochs are kept"
            )
        metrics = classification_metrics(
            scores.targets,
            scores.probabilities,
            class_names=self.data.class_names,
            train_counts=self.data.class_counts,
        )
        values = {f"val_{name}": value for name, value in metrics.items() if isinstance(value, float)}
        values["val_classes_predicted"] = float(len(np.unique(scores.probabilities.argmax(1))))
        for name, terms in self._epoch_terms.items():
            total = sum(map(float, terms))
            values[f"loss_{name}"] = total if name == "jitter" else total / len(terms)
        if self.data.values is not None:
            names, true = self.data.values.names, self.data.values.numbers[scores.positions]
            for k, name in enumerate(names):
                values[f"val_mae_{name}"] = value_metrics(true[:, k], scores.numbers[:, k])["mae"]
        values |= {"train_loss": train_loss, "lr": self.trainer.optimizers[0].param_groups[0]["lr"]}
        self.log_dict({name: torch.tensor(value, dtype=torch.float64) for name, value in values.items()})

    def on_train_epoch_end(self) -> None:
        scheduler = self.lr_schedulers()
        if isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau):
            scheduler.step(self.trainer.callback_metrics[f"val_{self.config.trainer.monitor}"].item())

    def configure_optimizers(self) -> Any:
        options = self.config.optimizer
        weights = [weight for weight in self.parameters() if weight.requires_grad]
        kinds: dict[str, Any] = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}
        # One kernel for all weights. Not under bf16, where Lightning refuses to clip the gradients of such.
        how: dict[str, Any] = {"fused": (self.device.type == "cpu" and self.trainer.precision == "32-true") or None}
        if options.name == "sgd":
            how["momentum"] = options.momentum
        optimizer = kinds[options.name](weights, options.lr, weight_decay=options.weight_decay, **how)
        steps = max(2, int(self.trainer.estimated_stepping_batches))
        scheduler: torch.optim.lr_scheduler.LRScheduler
        # Every schedule moves by steps: Lightning moves schedules of epochs after the checkpoint is written, so a
        # resumed run would lag by one. The plateau's is moved in on_train_epoch_end, before the checkpoint.
        match options.schedule:
            case "none":
                return optimizer
            case "cosine":
                scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
            case "one-cycle":
                # Momentum stays as given: cycling it is a second option nobody asked for.
                scheduler = torch.optim.lr_scheduler.OneCycleLR(
                    optimizer, options.lr, total_steps=steps, cycle_momentum=False
                )
            case "plateau":
                scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
                    optimizer,
                    mode="max" if higher_is_better(self.config.trainer.monitor) else "min",
                    factor=PLATEAU_FACTOR,
                    patience=PLATEAU_PATIENCE,
                )
                never = self.config.trainer.max_epochs + 1
                return [optimizer], [
                    {"scheduler": scheduler, "interval": "epoch", "frequency": never, "monitor": "train_loss"}
                ]
        return [optimizer], [{"scheduler": scheduler, "interval": "step"}]
