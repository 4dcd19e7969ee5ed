"""What a trained classifier is worth: metrics with intervals, decisions, calibration, figures, tables.

A new metric that follows from a confusion matrix is an entry of `confusion.AVERAGES`; any other is a number that
`metrics.classification_metrics` computes. Its label and direction are an entry in `metrics`, from where tables, figures,
studies and comparisons take it. A new decision rule is an entry of `decision.DecisionOptions` and a case of
`choice.choose_decision`.
"""
