"""What a trained classifier is worth: metrics with intervals, decisions, calibration, figures, tables."""
