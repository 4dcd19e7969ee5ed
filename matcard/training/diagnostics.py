"""Why a loss does what it does: which class pulls at the network, and how many errors are distinct."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import torch
from lightning.pytorch.callbacks import Callback

from matcard.invariants import magnitude, spread
from matcard.losses.error import error_points

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jaxtyping import Float, Int
    from lightning import LightningModule, Trainer
    from torch import Tensor, nn

    from matcard.models.base import Output

ERROR_SCALE = 10.0
"""Scale at which errors are counted, whatever the loss: those nearer than about a tenth count as one."""


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
