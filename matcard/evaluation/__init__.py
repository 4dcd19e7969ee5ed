"""What a trained classifier is worth: metrics with intervals, decisions, calibration, figures, tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matcard._lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "Decision": "thresholds",
        "Temperature": "calibration",
        "at_k": "ranking",
        "best_f1": "selection",
        "best_score": "selection",
        "bootstrap_intervals": "bootstrap",
        "class_count_table": "tables",
        "classification_metrics": "metrics",
        "compare_ranks": "statistics",
        "confusion_figure": "plots",
        "confusion_matrix": "confusion",
        "corrected_t_test": "statistics",
        "diagnostics_figure": "diagnostics",
        "fit_temperature": "calibration",
        "higher_is_better": "metrics",
        "holm": "statistics",
        "learning_figure": "curves",
        "metric_label": "metrics",
        "metric_names": "metrics",
        "metrics_beside_argmax": "metrics",
        "precision_recall_figure": "curves",
        "read_json": "jsonfile",
        "recall_figure": "plots",
        "recall_table": "tables",
        "reliability": "calibration",
        "reliability_figure": "curves",
        "save_figure": "style",
        "t_interval": "statistics",
        "target_precision": "selection",
        "target_recall": "selection",
        "to_json": "jsonfile",
        "wilson": "intervals",
    },
)

if TYPE_CHECKING:
    from matcard.evaluation.bootstrap import bootstrap_intervals as bootstrap_intervals
    from matcard.evaluation.calibration import Temperature as Temperature
    from matcard.evaluation.calibration import fit_temperature as fit_temperature
    from matcard.evaluation.calibration import reliability as reliability
    from matcard.evaluation.confusion import confusion_matrix as confusion_matrix
    from matcard.evaluation.curves import learning_figure as learning_figure
    from matcard.evaluation.curves import precision_recall_figure as precision_recall_figure
    from matcard.evaluation.curves import reliability_figure as reliability_figure
    from matcard.evaluation.diagnostics import diagnostics_figure as diagnostics_figure
    from matcard.evaluation.intervals import wilson as wilson
    from matcard.evaluation.jsonfile import read_json as read_json
    from matcard.evaluation.jsonfile import to_json as to_json
    from matcard.evaluation.metrics import classification_metrics as classification_metrics
    from matcard.evaluation.metrics import higher_is_better as higher_is_better
    from matcard.evaluation.metrics import metric_label as metric_label
    from matcard.evaluation.metrics import metric_names as metric_names
    from matcard.evaluation.metrics import metrics_beside_argmax as metrics_beside_argmax
    from matcard.evaluation.plots import confusion_figure as confusion_figure
    from matcard.evaluation.plots import recall_figure as recall_figure
    from matcard.evaluation.ranking import at_k as at_k
    from matcard.evaluation.selection import best_f1 as best_f1
    from matcard.evaluation.selection import best_score as best_score
    from matcard.evaluation.selection import target_precision as target_precision
    from matcard.evaluation.selection import target_recall as target_recall
    from matcard.evaluation.statistics import compare_ranks as compare_ranks
    from matcard.evaluation.statistics import corrected_t_test as corrected_t_test
    from matcard.evaluation.statistics import holm as holm
    from matcard.evaluation.statistics import t_interval as t_interval
    from matcard.evaluation.style import save_figure as save_figure
    from matcard.evaluation.tables import class_count_table as class_count_table
    from matcard.evaluation.tables import recall_table as recall_table
    from matcard.evaluation.thresholds import Decision as Decision
