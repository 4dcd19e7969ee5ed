"""matcard: crystal-graph networks that find the rare class."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matcard._lazy import attach

__version__ = "0.1.0"

_NAMES = {"CrystalClassifier": "estimator", "formula_groups": "estimator", "load_run": "prediction.predictor"}

__getattr__, __dir__, __all__ = attach(__name__, _NAMES)

if TYPE_CHECKING:
    from matcard.estimator import CrystalClassifier as CrystalClassifier
    from matcard.estimator import formula_groups as formula_groups
    from matcard.prediction.predictor import load_run as load_run
