"""What a trained classifier is worth: metrics with intervals, thresholds, calibration, plots, tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matcard._lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "classification_metrics": "metrics",
        "higher_is_better": "metrics",
        "metric_names": "metrics",
        "read_json": "jsonfile",
        "to_json": "jsonfile",
        "wilson": "intervals",
    },
)

if TYPE_CHECKING:
    from matcard.evaluation.intervals import wilson as wilson
    from matcard.evaluation.jsonfile import read_json as read_json
    from matcard.evaluation.jsonfile import to_json as to_json
    from matcard.evaluation.metrics import classification_metrics as classification_metrics
    from matcard.evaluation.metrics import higher_is_better as higher_is_better
    from matcard.evaluation.metrics import metric_names as metric_names
