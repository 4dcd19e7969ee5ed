"""Optuna studies: what is searched, how trials are chosen and run, what a study leaves."""
