"""Triplets of embeddings: positives near their anchors, and negatives spread around them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

import torch
from torch import nn

from matcard.errors import InputError
from matcard.losses.cardinality import WeighedLoss, WeighedOptions
from matcard.losses.measure import unit
from matcard.options import Positive

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

    from matcard.losses.base import Embeddings, Logits, Scalar, Targets, Terms, Value

FLOOR = 1e-6
"""Least value of an invariant that divides; it is 0 where all embeddings coincide."""


@dataclass(frozen=True)
class TripletOptions(WeighedOptions):
    """Options of the loss of triplets."""

    name: Literal["triplet"] = "triplet"
    combine: Literal["divide", "multiply", "ratio", "add"] = "divide"
    """What is made of the invariants of positives and negatives. With `add` a base loss trains the head; the others
    leave it to the nearest class centroid, unless `lambda_base` is above 0."""
    anchors: Literal["all", "class-aware"] = "all"
    """Anchors of triplets: each sample once, or as many draws, each class being equally likely."""
    temperature: Positive = 0.1
    """tau of B = mean -log sigmoid((a.p - a.n) / tau), which `divide` and `multiply` begin with."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.temperature != type(self).temperature and self.combine not in ("divide", "multiply"):
            raise InputError(f"--loss.temperature is that of triplet divide and multiply: {self.combine} has none")


class TripletLoss(WeighedLoss[TripletOptions]):
    """The magnitude or the spread of n - a, which is to be large, or of p - a, which is to be small.

    Triplets of unit-norm embeddings are mined in the batch: a positive p of the class of the anchor a, and a negative n
    of another. `divide` is the published materials experiment. A batch without a valid triplet gives 0.
    """

    formula = (
        "divide: B / M(n - a)\nmultiply: B * M(p - a)\nratio: M(p - a) / M(n - a)\n"
        "add: lambda_base mean l + lambda_invariant (M(p - a) - M(n - a))"
    )
    reference = "O'Malley 2026, arXiv:2601.04941; add: matcard"

    def form(self, logits: Logits, targets: Targets, embeddings: Embeddings) -> Value:
        """Give what the options make of the invariants of a batch's triplets."""
        o = self.options
        triplets = mine_triplets(targets, self.draws(), o.anchors)
        count = float(len(triplets.anchors))
        if not count:
            nothing = (0 * embeddings).sum()
            return nothing, {"triplets": count, "invariant": nothing}
        points = unit(embeddings)
        anchors, positives, negatives = (points[rows] for rows in triplets)
        near, far = positives - anchors, negatives - anchors
        scale = self.measure.scale(torch.cat([near, far]))
        terms: Terms = {"triplets": count, "scale": scale}
        if o.combine != "divide":
            terms["positive"] = near_value = self.measure.excess(near, scale)
        if o.combine != "multiply":
            terms["negative"] = far_value = self.measure.excess(far, scale)
        if o.combine in ("divide", "multiply"):
            terms["triplet"] = attraction = triplet_loss(anchors, positives, negatives, o.temperature)
        match o.combine:
            case "add":
                form = near_value - far_value
            case "divide":
                form = attraction / far_value.clamp_min(FLOOR)
            case "multiply":
                form = attraction * near_value
            case _:
                form = near_value / far_value.clamp_min(FLOOR)
        return form, {**terms, "invariant": form}


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
) -> Scalar:
    """Give B = mean -log sigmoid((a.p - a.n) / temperature) of unit vectors (O'Malley 2026)."""
    margins = (anchors * (positives - negatives)).sum(dim=1)
    return nn.functional.softplus(-margins / temperature).mean()
