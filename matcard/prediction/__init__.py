"""A trained run, loaded: probabilities, classes and embeddings of new samples, and how far they are to be trusted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matcard._lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "Ensemble": "ensemble",
        "ModelDescription": "modelfile",
        "Reference": "applicability",
        "Run": "run",
        "load_run": "run",
        "predict_sources": "stream",
        "save_model": "modelfile",
    },
)

if TYPE_CHECKING:
    from matcard.prediction.applicability import Reference as Reference
    from matcard.prediction.ensemble import Ensemble as Ensemble
    from matcard.prediction.modelfile import ModelDescription as ModelDescription
    from matcard.prediction.modelfile import save_model as save_model
    from matcard.prediction.run import Run as Run
    from matcard.prediction.run import load_run as load_run
    from matcard.prediction.stream import predict_sources as predict_sources
