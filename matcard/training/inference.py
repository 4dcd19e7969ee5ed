"""Scores of whole parts of a data set: the forward pass without gradient, batch by batch."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from matcard.prediction.network import Network, probabilities_of

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
        return cls(batch.index.cpu().numpy(), batch.y.cpu().numpy(), probabilities_of(logits).numpy())

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


class Outcome(NamedTuple):
    """Scores of n samples and their embeddings, in the same order."""

    scores: Scores
    embeddings: Float[np.ndarray, "n F"]


def read_out(module: TrainingModule, batches: Iterable[Any]) -> Outcome:
    """Score and embed every batch in evaluation mode, on the module's device."""
    network = Network(module.model, module.centroids)
    scores, embeddings = [], []
    with evaluating(module) as device:
        for batch in batches:
            moved = batch.to(device)
            output = network(moved)
            scores.append(Scores.of(moved, output.logits))
            embeddings.append(output.embedding.float().cpu().numpy())
    order = np.argsort(np.concatenate([part.positions for part in scores]), kind="stable")
    return Outcome(Scores.join(scores), np.concatenate(embeddings)[order])


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
