"""The forward pass: from a trained network and batches to probabilities and embeddings; which lie far from training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn.functional import normalize

from matcard.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jaxtyping import Float, Float32, Float64, Int, Int64
    from torch import Tensor

    from matcard.evaluation.value import ValueMix
    from matcard.models.base import Classifier, Output
    from matcard.models.value import ValueScale


MAX_REFERENCE = 20_000
"""Embeddings of the training part that are kept at most; of more, a random sample."""
PERCENTILE = 99.0
"""Share in percent of the validation part that lies within the limit."""

_BLOCK = 4_000_000
"""Scalar products at a time: 16 MB."""


class CentroidClassifier(nn.Module):
    """Score each class by its similarity to the embedding, less the mean similarity of the other classes.

    The similarity s_c is the scalar product of the unit-norm embedding with the mean of the unit-norm
    embeddings of class c; logit c is s_c - mean of s_k over k != c. With two classes logit 1 is s_1 - s_0:
    the score of O'Malley (2026), similarity to the positive centroid less that to the negative one. For any C
    the largest logit is that of the largest s_c. A class without embeddings has s_c = -1, the least there is.
    """

    centroids: Tensor
    present: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("centroids", torch.zeros(0, 0))
        self.register_buffer("present", torch.zeros(0, dtype=torch.bool))

    @torch.no_grad()
    def fit(self, embeddings: Float[Tensor, "N F"], targets: Int[Tensor, " N"], num_classes: int) -> None:
        """Take the centroid of each class from the embeddings of the training part."""
        targets = targets.to(embeddings.device)
        sums = embeddings.new_zeros(num_classes, embeddings.shape[1]).index_add_(0, targets, normalize(embeddings))
        counts = targets.bincount(minlength=num_classes)
        self.centroids = sums / counts.clamp_min(1)[:, None]
        self.present = counts > 0

    def forward(self, embeddings: Float[Tensor, "N F"]) -> Float[Tensor, "N C"]:
        """Give the logits of embeddings; `fit` comes first."""
        embeddings = embeddings.to(torch.promote_types(embeddings.dtype, torch.float32))
        with torch.autocast(embeddings.device.type, enabled=False):  # bf16 would make cosines of neighbours ties
            similarity = normalize(embeddings) @ self.centroids.to(embeddings).T
        similarity = torch.where(self.present.to(embeddings.device), similarity, -1.0)
        others = similarity.sum(dim=1, keepdim=True) - similarity
        return similarity - others / (similarity.shape[1] - 1)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        # Shapes are known only after `fit`, so they come from what is loaded.
        for name in ("centroids", "present"):
            saved = state_dict.get(prefix + name)
            if saved is not None:
                setattr(self, name, torch.empty_like(saved, device=getattr(self, name).device))
        super()._load_from_state_dict(state_dict, prefix, *args)


class Network(nn.Module):
    """A model, and the centroid classifier in place of its head where the loss trains embeddings alone.

    Args:
        model: maps a batch to `Output(logits (N, C), embedding (N, F), values (N, V) or None)`.
        centroids: fitted on the training part; None where the head is trained.
        scale: of the numbers that the model predicts; None where it predicts none.
        mix: chosen on the validation part; None where the number says nothing of the classes.
    """

    def __init__(
        self,
        model: Classifier,
        centroids: CentroidClassifier | None,
        scale: ValueScale | None = None,
        mix: ValueMix | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.centroids = centroids
        self.scale = scale
        self.mix = mix

    def forward(self, batch: Any) -> Output:
        """Give logits (N, C) and embedding (N, F) of a batch."""
        output: Output = self.model(batch)
        if self.centroids is None:
            return output
        return output._replace(logits=self.centroids(output.embedding))


class Scores(NamedTuple):
    """What a network says of n samples, on the CPU; probabilities in double precision.

    `numbers` are those that it predicts, V of them, in the units of the source. Where the first one has a say in the
    classes, its part is in the probabilities, and not in `heads`, which the class head alone gives.
    """

    positions: Int64[np.ndarray, " n"]
    targets: Int64[np.ndarray, " n"]
    probabilities: Float64[np.ndarray, "n C"]
    embeddings: Float32[np.ndarray, "n F"]
    numbers: Float64[np.ndarray, "n V"]
    heads: Float64[np.ndarray, "n C"]

    @classmethod
    def of(cls, network: Network, batch: Any) -> Scores:
        """Take a batch through the network, in the mode that it is in."""
        output = network(batch)
        # First to the CPU: Apple's GPUs have no float64.
        probabilities = heads = torch.softmax(output.logits.detach().cpu().double(), dim=1).numpy()
        embedding = output.embedding.detach().float()
        numbers = np.empty((len(probabilities), 0))
        if network.scale is not None and output.values is not None:
            numbers = network.scale.numbers(output.values.detach().float().cpu().numpy())
            if network.mix is not None:
                probabilities = network.mix(numbers[:, 0], heads)
        index, targets, embeddings = (tensor.cpu().numpy() for tensor in (batch.index, batch.y, embedding))
        return cls(index, targets, probabilities, embeddings, numbers, heads)

    @classmethod
    def join(cls, parts: Iterable[Scores]) -> Scores:
        """Put one or more together, in the order of the data set."""
        arrays = [np.concatenate(values) for values in zip(*parts, strict=True)]
        order = np.argsort(arrays[0], kind="stable")
        return cls(*(values[order] for values in arrays))


def read_out(network: Network, batches: Iterable[Any]) -> Scores:
    """Score and embed every batch in evaluation mode without gradient, on the network's device; none is no sample."""
    training, device = network.model.training, next(network.model.parameters()).device
    network.eval()
    try:
        with torch.no_grad():
            return Scores.join([Scores.of(network, batch.to(device)) for batch in batches])
    finally:
        network.train(training)


@dataclass(frozen=True, eq=False)
class Reference:
    """Where the training part lies in the space of embeddings, and how near to it the validation part is.

    Attributes:
        embeddings: (M, F) of the training part, or of a sample of it, of unit length.
        limit: the 99th percentile of the distances from the validation part to the nearest of them. That part is not
            trained on, so that its distances are those of new samples of the same kind.
    """

    embeddings: Float32[np.ndarray, "M F"]
    limit: float

    @classmethod
    def fit(cls, train: Float[np.ndarray, "n F"], validation: Float[np.ndarray, "m F"], *, seed: int = 0) -> Reference:
        """Take the embeddings of the two parts.

        Args:
            train: of the training part; beyond `MAX_REFERENCE` a random sample is kept.
            validation: of the validation part.
            seed: of that sample.

        Raises:
            InputError: a part without embeddings, or with some that are not finite.
        """
        for embeddings, part in ((train, "training"), (validation, "validation")):
            if not len(embeddings) or not np.isfinite(embeddings).all():
                raise InputError(f"the {part} part has no embeddings that are finite numbers")
        if len(train) > MAX_REFERENCE:
            train = train[np.sort(np.random.default_rng(seed).permutation(len(train))[:MAX_REFERENCE])]
        reference = cls(unit_length(train), float("inf"))
        return cls(reference.embeddings, float(np.percentile(reference.distance(validation), PERCENTILE)))

    def distance(self, embeddings: Float[np.ndarray, "n F"]) -> Float64[np.ndarray, " n"]:
        """Give the distance from each embedding, made unit length, to the nearest of the reference; 0 to 2."""
        units = unit_length(embeddings)
        rows = max(1, _BLOCK // len(self.embeddings))
        # The nearest by scalar products, its distance by the difference: that keeps the digits of near twins.
        nearest = [(units[k : k + rows] @ self.embeddings.T).argmax(axis=1) for k in range(0, len(units), rows)]
        gap = units.astype(np.float64) - self.embeddings[np.concatenate([np.empty(0, np.int64), *nearest])]
        return np.asarray(np.sqrt(np.square(gap).sum(axis=1)))

    def novelty(self, embeddings: Float[np.ndarray, "n F"]) -> Float64[np.ndarray, " n"]:
        """Give that distance over the limit: above 1 a sample is unlike those that the network was trained on."""
        return np.asarray(self.distance(embeddings) / max(self.limit, float(np.finfo(np.float32).eps)))


def unit_length(embeddings: Float[np.ndarray, "n F"]) -> Float32[np.ndarray, "n F"]:
    """Divide each embedding by its length; one of zeros stays."""
    wide = embeddings.astype(np.float64)
    length = np.linalg.norm(wide, axis=1, keepdims=True)
    units: Float32[np.ndarray, "n F"] = np.divide(wide, length, out=np.zeros_like(wide), where=length > 0).astype("f4")
    return units
