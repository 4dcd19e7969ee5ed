"""Scores of whole parts of a data set: the forward pass without gradient, batch by batch."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from jaxtyping import Float, Int
    from torch import Tensor, nn

    from matcard.training.module import TrainingModule


class Scores(NamedTuple):
    """Probabilities of n samples, with their positions in the data set and their targets."""

    positions: Int[np.ndarray, " n"]
    targets: Int[np.ndarray, " n"]
    probabilities: Float[np.ndarray, "n C"]

    @classmethod
    def of(cls, batch: Any, logits: Float[Tensor, "n C"]) -> Scores:
        """Take one batch's."""
        probabilities = torch.softmax(logits.double(), dim=1)
        return cls(batch.index.cpu().numpy(), batch.y.cpu().numpy(), probabilities.cpu().numpy())

    @classmethod
    def join(cls, parts: Iterable[Scores]) -> Scores:
        """Put several together, in the order of the data set."""
        index, targets, probabilities = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        order = np.argsort(index, kind="stable")
        return cls(index[order], targets[order], probabilities[order])


def gather_scores(parts: list[Scores]) -> Scores:
    """Join the scores of every rank: each holds the samples that it was given, none twice."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return Scores.join(parts)
    ranks: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(ranks, parts)
    return Scores.join(scores for rank in ranks for scores in rank)


def predict(module: TrainingModule, batches: Iterable[Any]) -> Scores:
    """Score every batch in evaluation mode, on the module's device."""
    with evaluating(module) as device:
        moved = (batch.to(device) for batch in batches)
        return Scores.join([Scores.of(batch, module(batch)) for batch in moved])


def embed(module: TrainingModule, batches: Iterable[Any]) -> tuple[Float[Tensor, "n F"], Int[Tensor, " n"]]:
    """Give the embedding and the target of every sample, in evaluation mode, on the module's device."""
    with evaluating(module) as device:
        moved = (batch.to(device) for batch in batches)
        embeddings, targets = zip(*((module.model(batch).embedding, batch.y) for batch in moved), strict=True)
        return torch.cat(embeddings), torch.cat(targets)


@contextmanager
def evaluating(module: nn.Module) -> Iterator[torch.device]:
    """Put a module in evaluation mode without gradient, and back as it was; gives its device."""
    training = module.training
    module.eval()
    try:
        with torch.no_grad():
            yield next(module.parameters()).device
    finally:
        module.train(training)
