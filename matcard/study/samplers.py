"""How the next trial is chosen, and which are ended early, by the names of `StudyOptions`."""

from __future__ import annotations

import warnings
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import HyperbandPruner, MedianPruner, NopPruner, WilcoxonPruner
from optuna.samplers import BaseSampler, CmaEsSampler, QMCSampler, RandomSampler, TPESampler

from matcard.errors import InputError

if TYPE_CHECKING:
    from optuna.pruners import BasePruner

    from matcard.study.options import StudyOptions
    from matcard.study.space import Space

STARTUP = 8
"""Trials drawn at random before TPE or CMA-ES learns from them."""


def make_sampler(name: str, seed: int, *, found: int, parallel: bool) -> BaseSampler:
    """Make the sampler of a study.

    Args:
        name: as in `StudyOptions.sampler`; the points of a grid are put in line beforehand.
        seed: of the study.
        found: trials that there are already: a command that goes on with a study draws anew.
        parallel: whether trials run side by side, so that one is chosen before others have ended.
    """
    drawn = int(np.random.SeedSequence((seed, found)).generate_state(1)[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        match name:
            case "tpe":
                return TPESampler(
                    n_startup_trials=STARTUP,
                    multivariate=True,
                    group=True,  # conditional parameters are modelled with those that they stand beside
                    constant_liar=parallel,
                    seed=drawn,
                )
            case "cmaes":
                return CmaEsSampler(
                    n_startup_trials=STARTUP,
                    independent_sampler=RandomSampler(drawn),
                    warn_independent_sampling=False,
                    seed=drawn,
                )
            case "qmc":
                # It counts its points in the study, so a command that goes on takes the next ones of the same sequence.
                return QMCSampler(
                    qmc_type="sobol",
                    scramble=True,
                    seed=seed,
                    independent_sampler=RandomSampler(drawn),
                    warn_independent_sampling=False,
                )
            case _:
                return RandomSampler(drawn)


def make_pruner(options: StudyOptions, epochs: int) -> BasePruner:
    """Make the pruner of a study, of whose trainings each has so many epochs at most."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        match options.pruner:
            case "median":
                return MedianPruner(n_startup_trials=5, n_warmup_steps=max(1, epochs // 4))
            case "hyperband":
                return HyperbandPruner(min_resource=1, max_resource=epochs * options.repeats)
            case "wilcoxon":
                return WilcoxonPruner()
            case _:
                return NopPruner()


def check_sampler(name: str, space: Space) -> str | None:
    """Refuse a sampler that cannot be used; give what is to be known of one that can, if anything is.

    Raises:
        InputError: a missing package, or nothing that the sampler could move.
    """
    if name != "cmaes":
        return None
    if find_spec("cmaes") is None:
        raise InputError("--sampler cmaes: needs the package cmaes: pip install 'matcard[tune]', or take tpe")
    conditional = [p.name for p in space.parameters if p.when or p.choices]
    if len(conditional) > len(space.parameters) - 2:
        raise InputError(
            "--sampler cmaes moves numbers that every trial has, two at least, and this space has "
            f"{len(space.parameters) - len(conditional)}: take tpe"
        )
    return f"CMA-ES moves numbers that every trial has; at random: {', '.join(conditional)}" if conditional else None
