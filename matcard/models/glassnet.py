"""Attention over the components of a composition, in the manner of DeepGlassNet."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from torch import nn

from matcard.models.base import ArrayModel, ModelOptions, batch_norm
from matcard.options import AtLeastOne, NotNegative

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from jaxtyping import Float
    from torch import Tensor


@dataclass(frozen=True)
class GlassNetOptions(ModelOptions):
    """Attention over the components of a composition, in the manner of DeepGlassNet (Chen et al. 2025)."""

    takes: ClassVar[tuple[str, ...]] = ("compositions",)

    name: Literal["glassnet"] = "glassnet"
    width: AtLeastOne = 128
    """Numbers a component is described by."""
    heads: AtLeastOne = 4
    """Attention heads; they share `width`."""
    hidden: AtLeastOne = 512
    """Width of the projection, so of the embedding."""
    rank: AtLeastOne = 16
    """Rank of the learned adjacency of components."""
    noise: NotNegative = 0.1
    """Deviation of the noise that multiplies proportions in training."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_heads(self.width, self.heads)


class GlassNet(ArrayModel[GlassNetOptions]):
    """A composition as a set of components that act on each other (after Chen et al., Acta Mater. 301, 121509, 2025).

    A batch has `x` (N, K), the proportions of K components. With E (K, width) the embeddings of the components and
    U, V (K, rank):

        h = x_k E_k                                    each component by its share
        h = h + relu(softmax(relu(U V')) h W)          over a learned graph of low rank
        h = h + attention(h)                           one layer, `heads` heads
        embedding = P2 relu(norm(P1 sum_k h_k)), divided by its length, (N, hidden)

    In training each proportion is multiplied by 1 + noise times a standard normal number.

    Args:
        options: widths, rank, noise.
        num_classes: C.
        input_shape: (K,).
        standard: not used: proportions are taken as they are.
    """

    def __init__(
        self,
        options: GlassNetOptions,
        num_classes: int,
        input_shape: Sequence[int],
        **standard: Float[np.ndarray, " K"],
    ) -> None:
        super().__init__(input_shape)
        components, width = math.prod(input_shape), options.width
        self.noise = options.noise
        self.components = nn.Parameter(torch.randn(components, width))
        self.sources = nn.Parameter(torch.randn(components, options.rank))
        self.targets = nn.Parameter(torch.randn(components, options.rank))
        self.exchange = nn.Linear(width, width, bias=False)
        self.attention = nn.MultiheadAttention(width, options.heads, batch_first=True)
        self.project = nn.Linear(width, options.hidden)
        self.norm = nn.BatchNorm1d(options.hidden)
        self.out = nn.Linear(options.hidden, options.hidden)
        self.fc_out = nn.Linear(options.hidden, num_classes)

    def encode(self, batch: Any) -> Float[Tensor, "N F"]:
        """Give the embedding of each composition, of length 1."""
        shares: Tensor = batch.x
        if self.training and self.noise:
            shares = shares * (1 + self.noise * torch.randn_like(shares))
        hidden = shares.unsqueeze(2) * self.components
        graph = (self.sources @ self.targets.t()).relu().softmax(1)
        hidden = hidden + self.exchange(graph @ hidden).relu()
        hidden = hidden + self.attention(hidden, hidden, hidden, need_weights=False)[0]
        projected = batch_norm(self.norm, self.project(hidden.sum(1))).relu()
        return nn.functional.normalize(self.out(projected), dim=1)
