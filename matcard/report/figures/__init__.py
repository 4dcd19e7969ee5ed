"""Figures that only reports have, drawn in the style of `matcard.evaluation.style`."""
