"""What to change when a network predicts one class only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matcard.losses.options import CardinalityOptions

if TYPE_CHECKING:
    from matcard.losses.options import LossOptions

_REWEIGHT = "loss.name=spread loss.space=class-embedding loss.combine=reweight loss.scale=3"


def collapse_advice(options: LossOptions) -> str:
    """Say what to change in these options when an epoch predicts one class only."""
    name = options.name
    if not isinstance(options, CardinalityOptions):
        if options.needs_counts:
            return f"{name} knows the class counts already: lower optimizer.lr, or train longer"
        return f"{name} lets the common class win: try logit_adjustment, class_balanced, or {_REWEIGHT}"
    match options.space, options.combine:
        case "error", "replace" | "multiply":
            return (
                f"the {name} of errors is small when errors are alike, as they are if one class is predicted "
                f"for all: set loss.combine=add and loss.lambda_invariant=0.1, or {_REWEIGHT}"
            )
        case _, "add":
            return (
                f"the {name} outweighs its base: lower loss.lambda_invariant (now "
                f"{options.lambda_invariant:g}), or set loss.base=logit_adjustment (now {options.base})"
            )
        case "embedding", _:
            return (
                "embeddings may have shrunk to a point: raise loss.lambda_base (now "
                f"{options.base_weight:g}) or loss.scale (now {options.scale}), or set {_REWEIGHT}"
            )
        case _:
            return (
                f"the weights may be too even or too uneven: change loss.scale (now {options.scale}), or "
                "lower optimizer.lr"
            )
