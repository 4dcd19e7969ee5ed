"""What a trained classifier is worth: metrics with intervals, decisions, calibration, figures, tables.

A new metric that follows from a confusion matrix is an entry of `confusion.AVERAGES`; any other is a number that
`metrics.classification_metrics` computes. Its label and direction are an entry in `metrics`; tables, figures, studies
and comparisons take it from there. A new decision rule is a value of `decision.DecisionOptions.rule` and a case of
`choice.choose_decision`.

In all of it `targets` (n,) are class indices, `probabilities` (n, C) a row a sample that sums to one, `class_names` C
different names, and `train_counts` (C,) the samples of each class in the training part. `metrics` are what
`scoring.scored` gives, or that read back from its JSON file, where an undefined number is null.
"""
