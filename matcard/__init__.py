"""matcard: crystal-graph networks that find the rare class."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matcard._lazy import attach

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = attach(__name__, {"load_run": "prediction.predictor"})

if TYPE_CHECKING:
    from matcard.prediction.predictor import load_run as load_run
