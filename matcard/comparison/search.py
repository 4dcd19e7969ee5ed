"""The search for a method's options on a task: the same number of trials for each, one after the other.

The next trial follows from the outcomes of those before it and from nothing else, so that whoever comes next, after a
kill or on another machine, chooses the same one.
"""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import TPESampler
from optuna.trial import TrialState

from matcard.study.search.space import nested
from matcard.training.config import config_from_dict, config_to_dict, overlaid

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matcard.study.search.space import Space


def startup(trials: int) -> int:
    """Give the number of trials that are not yet guided by the outcomes of others, the first of them as given."""
    return max(2, trials // 2)


class Search:
    """Chooses trials by a tree-structured Parzen estimator; the first has the options as they are.

    Args:
        space: what is searched.
        base: resolved configuration of a trial, nested, that choices are laid over.
        trials: how many there are.
        larger: whether a larger value is better.
        seed: of the choices.
        rival: whether the configuration is that of a rival, not of a network.
    """

    def __init__(
        self, space: Space, base: Mapping[str, Any], *, trials: int, larger: bool, seed: int, rival: bool
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._space = space
        self._base = base
        self._trials = trials
        self._rival = rival
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            sampler = TPESampler(n_startup_trials=startup(trials), multivariate=True, group=True, seed=seed)
        self._study = optuna.create_study(sampler=sampler, direction="maximize" if larger else "minimize")
        if (defaults := self._defaults()) is not None:
            self._study.enqueue_trial(defaults)
        self._trial: optuna.Trial | None = None
        self._config: dict[str, Any] = {}
        self._ask()

    @property
    def number(self) -> int:
        """Number of the trial that is to be run, or of all trials where they are."""
        return len(self._study.trials) - (self._trial is not None)

    @property
    def config(self) -> dict[str, Any] | None:
        """Resolved configuration of the trial that is to be run; None where all have been."""
        return None if self._trial is None else self._config

    def tell(self, value: float | None) -> None:
        """Tell the outcome of that trial; None or NaN where it failed."""
        assert self._trial is not None
        if value is None or not math.isfinite(value):
            self._study.tell(self._trial, state=TrialState.FAIL)
        else:
            self._study.tell(self._trial, value)
        self._trial = None
        self._ask()

    def best(self) -> dict[str, Any] | None:
        """Give the values of the best trial by parameter; None where all failed."""
        done = [trial for trial in self._study.trials if trial.state == TrialState.COMPLETE]
        return dict(self._study.best_params) if done else None

    def applied(self, params: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, Any]:
        """Lay the values of a trial over another configuration, resolved."""
        if self._rival:
            return overlaid(base, nested(params))
        return config_to_dict(config_from_dict(self._space.apply(params, base)))

    def _ask(self) -> None:
        if len(self._study.trials) >= self._trials and not self._waiting():
            return
        self._trial = self._study.ask()
        if self._rival:
            params = {parameter.name: parameter.suggest(self._trial) for parameter in self._space.parameters}
            self._config = overlaid(self._base, nested(params))
        else:
            self._config = config_to_dict(config_from_dict(self._space.suggest(self._trial, self._base)))

    def _waiting(self) -> bool:
        return any(trial.state == TrialState.WAITING for trial in self._study.trials)

    def _defaults(self) -> dict[str, Any] | None:
        if not self._rival:
            return self._space.point_of(self._base)
        from matcard.training.config import flatten

        options = flatten(dict(self._base))
        try:
            return {parameter.name: parameter.found_in(options) for parameter in self._space.parameters}
        except LookupError:
            return None
