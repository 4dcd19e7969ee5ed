"""The search for a method's options on a task: the same number of trials for each, one after the other.

The next trial follows from the outcomes of those before it and from nothing else, so that whoever comes next, after a
kill, chooses the same one; and more trials are the same ones with others after them.
"""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import TPESampler
from optuna.trial import TrialState

from matcard.training.config import config_from_dict, config_to_dict, flatten, nested, overlaid

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matcard.study.space import Space

    Values = Sequence[float | None]
    """Outcomes of trials; None of those that failed."""

STARTUP = 3
"""Trials that are not guided by the outcomes of others: the options as they are, and two drawn at random."""


class Search:
    """Chooses trials by a tree-structured Parzen estimator; the first has the options as they are.

    Args:
        space: what is searched.
        base: resolved configuration of a trial, nested, that choices are laid over.
        larger: whether a larger value is better.
        seed: of the choices.
        rival: whether the configuration is that of a rival, not of a network.
    """

    def __init__(self, space: Space, base: Mapping[str, Any], *, larger: bool, seed: int, rival: bool) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._space = space
        self._base = base
        self._larger = larger
        self._seed = seed
        self._rival = rival
        self._begin()

    def config(self, values: Values) -> dict[str, Any]:
        """Give the resolved configuration of the trial that comes after some with these outcomes."""
        told = [None if value is None or not math.isfinite(value) else value for value in values]
        if self._told != told[: len(self._told)]:
            self._begin()
        for value in told[len(self._told) :]:
            # What was asked is told; the same outcomes always lead to the same question.
            if value is None:
                self._study.tell(self._trial, state=TrialState.FAIL)
            else:
                self._study.tell(self._trial, value)
            self._told.append(value)
            self._ask()
        return self._config

    def best(self, values: Values) -> dict[str, Any] | None:
        """Give the values of the best trial by parameter, of those with these outcomes; None where all failed."""
        self.config(values)
        done = [trial for trial in self._study.trials[: len(values)] if trial.state == TrialState.COMPLETE]
        if not done:
            return None
        best = max if self._larger else min
        return dict(best(done, key=lambda trial: float(trial.value or 0.0)).params)

    def applied(self, params: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, Any]:
        """Lay the values of a trial over another configuration, resolved."""
        if self._rival:
            return overlaid(base, nested(params))
        return config_to_dict(config_from_dict(self._space.apply(params, base)))

    def _begin(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            sampler = TPESampler(n_startup_trials=STARTUP, multivariate=True, group=True, seed=self._seed)
        self._study = optuna.create_study(sampler=sampler, direction="maximize" if self._larger else "minimize")
        if (defaults := self._defaults()) is not None:
            self._study.enqueue_trial(defaults)
        self._told: list[float | None] = []
        self._ask()

    def _ask(self) -> None:
        self._trial = self._study.ask()
        if self._rival:
            params = {parameter.name: parameter.suggest(self._trial) for parameter in self._space.parameters}
            self._config = overlaid(self._base, nested(params))
        else:
            self._config = config_to_dict(config_from_dict(self._space.suggest(self._trial, self._base)))

    def _defaults(self) -> dict[str, Any] | None:
        if not self._rival:
            return self._space.point_of(self._base)
        options = flatten(dict(self._base))
        try:
            return {parameter.name: parameter.found_in(options) for parameter in self._space.parameters}
        except LookupError:
            return None
