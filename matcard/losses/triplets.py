"""Triplets of anchor, positive and negative, mined inside a batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import nn

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor


class Triplets(NamedTuple):
    """Rows of a batch: a positive is of its anchor's class, a negative of another."""

    anchors: Int[Tensor, " T"]
    positives: Int[Tensor, " T"]
    negatives: Int[Tensor, " T"]


def mine_triplets(targets: Int[Tensor, " N"], generator: torch.Generator, anchors: str = "all") -> Triplets:
    """Draw a triplet for each anchor: another member of its class, and a member of another class.

    Sorted by class, the members of a class stand side by side, and all others follow them around the circle:
    one uniform number picks either without a list of candidates, in O(N log N) and without a loop.

    Args:
        targets: the class of each row.
        generator: on the CPU, so that every device draws the same.
        anchors: `all` rows that have a positive and a negative; or `class-aware`, as many draws among them,
            each class being equally likely.

    Returns:
        T triplets; none where no class has two members, or all rows are of one class.
    """
    order = targets.argsort(stable=True)
    group, sizes = targets[order], targets.bincount()
    starts = sizes.cumsum(0) - sizes
    usable = (sizes >= 2) & (sizes < len(targets))
    places = usable[group].nonzero()[:, 0]
    # Integers this wide leave no visible bias in a remainder, and every device has them.
    draws = torch.randint(2**62, (4, len(places)), generator=generator).to(targets.device)
    if anchors == "class-aware" and len(places):
        classes = usable.nonzero()[:, 0]
        drawn = classes[draws[0] % len(classes)]
        places = starts[drawn] + draws[1] % sizes[drawn]
    start, size = starts[group[places]], sizes[group[places]]
    positives = start + (places - start + 1 + draws[2] % (size - 1)) % size
    negatives = (start + size + draws[3] % (len(targets) - size)) % len(targets)
    return Triplets(order[places], order[positives], order[negatives])


def triplet_loss(
    anchors: Float[Tensor, "T F"],
    positives: Float[Tensor, "T F"],
    negatives: Float[Tensor, "T F"],
    temperature: float,
) -> Float[Tensor, ""]:
    """Give B = mean -log sigmoid((a.p - a.n) / temperature) of unit vectors (O'Malley 2026)."""
    margins = (anchors * (positives - negatives)).sum(dim=1)
    return nn.functional.softplus(-margins / temperature).mean()
