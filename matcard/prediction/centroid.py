"""The class of an embedding by the nearest class centroid, for networks whose head no loss trains."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.functional import normalize

from matcard.errors import InputError

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor


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
        """Take the centroid of each class from the embeddings of the training part.

        Raises:
            InputError: no embeddings, fewer than two classes, as many targets as embeddings are not given, or a target
                is no class.
        """
        if len(embeddings) == 0 or len(targets) != len(embeddings) or num_classes < 2:
            raise InputError(
                f"a centroid classifier needs embeddings with one target each and two classes or more, found "
                f"{len(embeddings)} embeddings, {len(targets)} targets and {num_classes} classes"
            )
        if int(targets.min()) < 0 or int(targets.max()) >= num_classes:
            raise InputError(
                f"a centroid classifier needs targets from 0 to {num_classes - 1}, found {int(targets.min())} to "
                f"{int(targets.max())}"
            )
        targets = targets.to(embeddings.device)
        sums = embeddings.new_zeros(num_classes, embeddings.shape[1]).index_add_(0, targets, normalize(embeddings))
        counts = targets.bincount(minlength=num_classes)
        self.centroids = sums / counts.clamp_min(1)[:, None]
        self.present = counts > 0

    def forward(self, embeddings: Float[Tensor, "N F"]) -> Float[Tensor, "N C"]:
        """Give the logits of embeddings.

        Raises:
            InputError: `fit` has not been called.
        """
        if len(self.centroids) == 0:
            raise InputError("the centroid classifier has no centroids yet: call fit(embeddings, targets, C) first")
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
