"""Error space: the points are the errors onehot(y) - p, so that a mistake made n times counts once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matcard.losses.measure import precise
from matcard.losses.rivals import errors
from matcard.losses.space import Space

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

    from matcard.losses.base import Terms


class ErrorSpace(Space):
    """M of the errors in place of the base loss, times it, or added to it (O'Malley 2026)."""

    needs_embeddings = False

    def forward(
        self,
        logits: Float[Tensor, "N C"],
        targets: Int[Tensor, " N"],
        embeddings: Float[Tensor, "N F"] | None,
    ) -> tuple[Float[Tensor, ""], Terms]:
        """Give the loss and its terms."""
        o = self.options
        points = error_points(logits, targets, o.p)
        scale = self.measure.scale(points)
        invariant = self.measure.excess(points, scale).to(logits)
        terms: Terms = {"invariant": invariant, "scale": scale}
        if o.combine == "replace":
            return invariant, terms
        base = self.base.average(logits, targets)
        terms["base"] = base
        if o.combine == "multiply":
            return base * invariant, terms
        return o.base_weight * base + o.lambda_invariant * invariant, terms


def error_points(logits: Float[Tensor, "N C"], targets: Int[Tensor, " N"], p: float) -> Float[Tensor, "N D"]:
    """Give points whose l_p distances are those of the errors onehot(y) - p, in float64 where there is one.

    Two classes have errors (a, -a), which lie on a line: one coordinate, 2^(1/p) a, has the same distances
    and needs no solve.
    """
    points = errors(precise(logits), targets)
    return points[:, :1] * 2 ** (1 / p) if points.shape[1] == 2 else points
