"""matcard: crystal-graph networks that find the rare class."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matcard.estimator import CrystalClassifier as CrystalClassifier
    from matcard.estimator import formula_groups as formula_groups
    from matcard.prediction.predictor import load_run as load_run

__version__ = "0.1.0"
_NAMES = {"CrystalClassifier": "estimator", "formula_groups": "estimator", "load_run": "prediction.predictor"}
"""Public names and the modules that define them, imported on first use (PEP 562): `--help` loads no torch."""


def __getattr__(name: str) -> Any:
    if name not in _NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"matcard.{_NAMES[name]}"), name)


def __dir__() -> list[str]:
    return [*_NAMES, "__version__"]
