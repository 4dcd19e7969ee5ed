"""Networks: a batch in, logits and the embedding that feeds the head out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matcard._lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {"Output": "output", "build_model": "registry", "model_names": "registry", "model_options": "registry"},
)

if TYPE_CHECKING:
    from matcard.models.output import Output as Output
    from matcard.models.registry import build_model as build_model
    from matcard.models.registry import model_names as model_names
    from matcard.models.registry import model_options as model_options
