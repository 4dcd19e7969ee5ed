"""How the next trial is chosen, by the names of `StudyOptions.sampler`."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, CmaEsSampler, RandomSampler, TPESampler
from scipy.stats.qmc import Sobol

from matcard.errors import InputError

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

    from matcard.study.search.space import Space

STARTUP = 8
"""Trials drawn at random before TPE or CMA-ES learns from them."""


@dataclass(frozen=True)
class MakeSampler:
    """Makes the sampler of a study.

    Args:
        name: as in `StudyOptions.sampler`.
        space: what is searched.
        seed: of the study.
        parallel: whether trials run side by side, so that one is chosen before others have ended.
    """

    name: str
    space: Space
    seed: int
    parallel: bool

    def __call__(self, number: int) -> BaseSampler:
        """Make the sampler of a command that finds so many trials; one that goes on with a study draws anew."""
        seed = int(np.random.SeedSequence((self.seed, number)).generate_state(1)[0])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            match self.name:
                case "tpe":
                    return TPESampler(
                        n_startup_trials=STARTUP,
                        multivariate=True,
                        group=True,  # conditional parameters are modelled with those that they stand beside
                        constant_liar=self.parallel,
                        seed=seed,
                    )
                case "cmaes":
                    return CmaEsSampler(
                        n_startup_trials=STARTUP,
                        independent_sampler=RandomSampler(seed),
                        warn_independent_sampling=False,
                        seed=seed,
                    )
                case "qmc":
                    return SobolSampler(self.space, self.seed)
                case _:
                    # A grid is put in line before the first trial.
                    return RandomSampler(seed)


class SobolSampler(BaseSampler):
    """Point number k of a scrambled Sobol sequence for trial number k.

    Optuna's own gives up where parameters are conditional. Here each has its coordinate, whether it is searched or not.

    Args:
        space: what is searched.
        seed: of the scrambling.
    """

    def __init__(self, space: Space, seed: int) -> None:
        self._coordinates = {parameter.name: (k, parameter) for k, parameter in enumerate(space.parameters)}
        self._seed = seed

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Every parameter is drawn by itself."""
        return {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Every parameter is drawn by itself."""
        return {}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Give the value at the trial's coordinate."""
        sequence = Sobol(len(self._coordinates), seed=self._seed)
        if trial.number:
            sequence.fast_forward(trial.number)
        k, parameter = self._coordinates[param_name]
        return parameter.at(float(sequence.random(1)[0, k]))


def check_sampler(name: str, space: Space) -> str | None:
    """Refuse a sampler that cannot be used; give what is to be known of one that can, if anything is.

    Raises:
        InputError: a missing package, or nothing that the sampler could move.
    """
    if name != "cmaes":
        return None
    if find_spec("cmaes") is None:
        raise InputError("--sampler cmaes: needs the package cmaes: pip install 'matcard[tune]', or take tpe")
    conditional = [p.name for p in space.parameters if p.when or p.kind == "categorical"]
    if len(conditional) > len(space.parameters) - 2:
        raise InputError(
            "--sampler cmaes moves numbers that every trial has, two at least, and this space has "
            f"{len(space.parameters) - len(conditional)}: take tpe"
        )
    return f"CMA-ES moves numbers that every trial has; at random: {', '.join(conditional)}" if conditional else None
