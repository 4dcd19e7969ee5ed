"""What a trained classifier is worth: metrics with intervals, decisions, calibration, figures, tables.

A new metric that follows from a confusion matrix is an entry of `confusion.AVERAGES`; any other is a number that
`metrics.classification_metrics` computes. Its label and direction are an entry in `metrics`; tables, figures, studies
and comparisons take it from there. A new decision rule is a value of `decision.DecisionOptions.rule` and a case of
`choice.choose_decision`.
"""
