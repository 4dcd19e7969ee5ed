"""A study from its settings to its files: begun once, gone on with, reported."""

from __future__ import annotations

import random
import uuid
import warnings
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.pruners import HyperbandPruner, MedianPruner, NopPruner, WilcoxonPruner
from optuna.samplers import BaseSampler, CmaEsSampler, QMCSampler, RandomSampler, TPESampler
from sqlalchemy.exc import SQLAlchemyError

from matcard.cli import make_console
from matcard.errors import InputError, TrainingError
from matcard.evaluation.metrics import higher_is_better
from matcard.study.figures import write_figures
from matcard.study.gains import retrain, show_gain
from matcard.study.objective import run_trial
from matcard.study.settings import Settings, StudyDir, StudyOptions, read_entries, trial_settings
from matcard.study.space import check_space, make_space
from matcard.study.storage import JOURNAL, close_storage, open_storage, parse_url
from matcard.study.trials import DEFAULTS, Trials, count_finished, write_best, write_table
from matcard.training.config import config_from_dict, config_to_dict, overlaid
from matcard.training.fit import check_config
from matcard.training.options import BY_CLASS
from matcard.training.rundir import with_resolved_paths
from matcard.work.folder import held, require_same
from matcard.work.pool import engine
from matcard.work.screen import Screen, say
from matcard.work.trainings import Division, SharedData

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from optuna.pruners import BasePruner
    from rich.console import Console

    from matcard.study.space import Space
    from matcard.training.options import Config
    from matcard.work.attempt import Job
    from matcard.work.conduct import Agenda

DIRECTORY = "directory"
"""User attribute of a study: where it was gone on with last."""
STARTUP = 8
"""Trials drawn at random before TPE or CMA-ES learns from them."""


@dataclass(frozen=True)
class Begun:
    """A study that has begun.

    Attributes:
        folder: where it is.
        settings: with which it began.
        space: what is searched.
        metrics: names of the validation metrics that are a trial's values.
        data: of its trials.
        study: Optuna's.
        points: of the grid; None of another sampler.
    """

    folder: StudyDir
    settings: Settings
    space: Space
    metrics: tuple[str, ...]
    data: SharedData
    study: optuna.Study
    points: int | None

    def job(self, config: Config) -> Job:
        """Give what is done for a configuration, wherever it is done."""
        values = with_resolved_paths(config_to_dict(config))
        return partial(run_trial, values, self.settings.options, self.metrics, self.data)


def tune(
    config: Config,
    options: StudyOptions | None = None,
    *,
    space: Mapping[str, Any] | None = None,
    console: Console | None = None,
) -> StudyDir:
    """Run a study, or go on with it, and give its directory.

    Args:
        config: what is tuned; its values are the defaults that the best is compared with.
        options: of the study.
        space: parameter -> range or choices, as a file of configs/tune has them, in place of `options.space`. Its
            `config` is laid over `config`.
        console: what is printed to.

    Raises:
        InputError: a space, options or data that cannot be used, or that differ from those the study began with.
        TrainingError: trials fail, one after another; the message says why.
        KeyboardInterrupt: interrupted; the message says what is kept.

    Examples:
        >>> from matcard.study.tuning import tune  # doctest: +SKIP
        >>> tune(config, StudyOptions(trials=30, jobs=2, study="scale"))  # doctest: +SKIP
    """
    options = options or StudyOptions()
    entries = dict(space) if space is not None else read_entries(options.space)
    base = overlaid(config_to_dict(config), entries.get("config") or {})
    trial = overlaid(base, trial_settings(options.trial_config))
    full, short = (config_to_dict(config_from_dict(values)) for values in (base, trial))
    return run_study(Settings(full, short, entries, options), console or make_console())


def run_study(settings: Settings, console: Console, report: Callable[[Path], object] = lambda folder: None) -> StudyDir:
    """Run the study of resolved settings; see `tune`.

    Args:
        settings: of the study.
        console: what is printed to.
        report: writes the report of the study in a directory; called unless the options ask for none.
    """
    config, options = config_from_dict(settings.config), settings.options
    metrics = tuple(options.metric or [config.trainer.monitor])
    for name in metrics:
        higher_is_better(name)
    folder = StudyDir.named(options.study, config.name)
    space = make_space(settings.space, f"--space {options.space}")
    check(settings, space)
    with held(folder.path, "--study"):
        begun = begin(folder, settings, space, metrics)
        say(console, f"study: {folder.path}")
        try:
            with held_elsewhere(begun), engine(options.jobs, options.scheduler, folder.path, console) as do:
                search(begun, do, report if config.report else lambda _: None, console)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                f"{count_finished(begun.study.trials)} of {options.trials} trials are finished and kept, and what ran "
                f"goes on where it was; go on with --study {options.study or folder.path}"
            ) from None
        except (StorageInternalError, SQLAlchemyError) as error:
            url = options.storage and parse_url(options.storage).render_as_string(hide_password=True)
            where = f"--storage {url}" if url else folder.path / JOURNAL
            why = str(error.__cause__ or error).splitlines()[0]
            raise TrainingError(
                f"{where} does not answer, or takes no more ({why}): what is finished is kept; give the same "
                "command once it does"
            ) from error
        finally:
            close_storage(begun.study._storage)
    return folder


@contextmanager
def held_elsewhere(begun: Begun) -> Iterator[None]:
    """Hold the lock of the directory from which a study in a database was last gone on with, should this be its copy.

    Raises:
        InputError: a command is at work there.
    """
    study, here = begun.study, str(begun.folder.path.resolve())
    last = study.user_attrs.get(DIRECTORY, here)
    other = StudyDir(Path(last))
    shared = begun.settings.options.storage is not None and last != here and other.settings.is_file()
    shared = shared and Settings.read(other.settings).name == begun.settings.name  # and not another in its place
    with held(other.path, "--study") if shared else nullcontext():
        study.set_user_attr(DIRECTORY, here)
        yield


def search(begun: Begun, do: Callable[[Agenda], None], report: Callable[[Path], object], console: Console) -> None:
    """Have the trials made, show the best, and retrain it.

    Raises:
        TrainingError: too many trials fail.
        KeyboardInterrupt: a signal came.
    """
    folder, options, study = begun.folder, begun.settings.options, begun.study
    total = options.trials
    if begun.points is not None and begun.points != total:
        total = min(total, begun.points)
        console.print(f"the grid has {begun.points} points, {total} of them are to finish")
    with Screen(console, "trials", total, count_finished(study.trials)) as screen:
        trials = Trials(begun, total, screen)
        try:
            do(trials)
        finally:
            table, best = write_table(begun), write_best(begun)
    if trials.stop != "failing":
        say(console, trials.summary())
    write_figures(folder, study, table, begun.metrics, begun.space)
    if best:
        show_gain(begun, best, do, console)
    report(folder.path)
    if trials.stop == "failing":
        raise TrainingError(f"{trials.summary()}; all trials are in {folder.table}")
    if options.retrain and best:
        retrain(begun, do, console)
        report(folder.path)


def check(settings: Settings, space: Space) -> None:
    """Refuse settings that cannot be used.

    Raises:
        InputError: what is wrong with them.
    """
    options = settings.options
    if options.storage and ":***@" in options.storage:
        raise InputError("--storage: the study is in a database whose password is not kept: give --storage again")
    check_space(space, settings.trial, f"--space {options.space}")
    config = config_from_dict(settings.trial)
    check_config(config)
    if (config.trainer.devices, config.trainer.num_nodes) != (1, 1):
        raise InputError("--trainer.devices: a trial trains on one device; use several by --jobs or --scheduler")
    if options.sampler == "cmaes" and find_spec("cmaes") is None:
        raise InputError(
            "--sampler cmaes: needs the package cmaes: pip install -e '.[tune]' in matcard's folder, or take tpe"
        )
    moved = [p.name for p in space.parameters if not (p.when or p.choices)]
    if options.sampler == "cmaes" and len(moved) < 2:
        raise InputError(f"--sampler cmaes moves two numbers at least that every trial has, not {len(moved)}: take tpe")


def begin(folder: StudyDir, settings: Settings, space: Space, metrics: tuple[str, ...]) -> Begun:
    """Make the study, or open it where it is; the defaults, where the space holds them, and a grid stand in line.

    Raises:
        InputError: it began with other settings or other data, or the storage holds another one.
    """
    options, seed = settings.options, settings.config["seed"]
    name = f"{folder.name}-{uuid.uuid4().hex[:8]}"
    if folder.settings.is_file():
        before = Settings.read(folder.settings)
        before.check_same(settings, folder.path)
        name = before.name
    settings = replace(settings, name=name)
    # Read and drawn as graphs once, before workers would, and before a study is begun on what cannot be read.
    data, config = SharedData(), config_from_dict(settings.trial)
    divided = data.divided(config.data, Division(seed, folds=options.folds), graphs=config.model.sees_graphs)
    searched = [name for p in space.parameters if p.name == "trainer.sampler" for name in p.choices]
    for sampler in dict.fromkeys([config.trainer.sampler, *searched]):
        if sampler not in BY_CLASS:
            divided.draws(sampler, config.trainer.sampler_scale, config.trainer.sampler_by == "class")
    require_same(divided, folder.data, f"--study {folder.path}", "name another --study, or put the data back")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = open_storage(options.storage, folder.path)
    where = "--storage" if options.storage else folder.path / JOURNAL
    known = [each.study_name for each in storage.get_all_studies()]
    others = [] if options.storage else known
    trials = [trial for part in ("trials", "running") for trial in folder.path.glob(f"{part}/[0-9]*")]
    if name not in known and (others or trials):
        raise InputError(
            f"{where} holds {f'the study {others[0]!r}' if others else 'no such study'}, and the directory is that of "
            f"{name!r}: give it its own journal or --storage back, or name another --study"
        )
    settings.write(folder.settings)
    parallel = options.jobs > 1 or options.scheduler is not None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        study = optuna.create_study(
            study_name=name,
            storage=storage,
            directions=["maximize" if higher_is_better(metric) else "minimize" for metric in metrics],
            load_if_exists=True,
            pruner=make_pruner(options, config.trainer.max_epochs),
        )
        study.sampler = make_sampler(options.sampler, seed, found=len(study.trials), parallel=parallel)
    defaults = space.point_of(settings.trial)
    if defaults is not None:
        study.enqueue_trial(defaults, user_attrs={DEFAULTS: True}, skip_if_exists=True)
    points = None
    if options.sampler == "grid":
        grid = [point for point in space.grid(settings.trial) if point != defaults]
        random.Random(seed).shuffle(grid)
        points = len(grid) + (defaults is not None)
        for point in grid:
            study.enqueue_trial(point, skip_if_exists=True)
    return Begun(folder, settings, space, metrics, data, study, points)


def make_sampler(name: str, seed: int, *, found: int, parallel: bool) -> BaseSampler:
    """Make the sampler of a study.

    Args:
        name: as in `StudyOptions.sampler`; the points of a grid are put in line beforehand.
        seed: of the study.
        found: trials that there are already: a command that goes on with a study draws anew.
        parallel: whether trials run side by side, so that one is chosen before others have ended.
    """
    drawn = int(np.random.SeedSequence((seed, found)).generate_state(1)[0])
    others: dict[str, Any] = {"independent_sampler": RandomSampler(drawn), "warn_independent_sampling": False}
    match name:
        case "tpe":
            # Conditional parameters are modelled with those that they stand beside.
            how: dict[str, Any] = {"multivariate": True, "group": True, "constant_liar": parallel}
            return TPESampler(n_startup_trials=STARTUP, seed=drawn, **how)
        case "cmaes":
            return CmaEsSampler(n_startup_trials=STARTUP, seed=drawn, **others)
        case "qmc":
            # It counts its points in the study, so a command that goes on takes the next ones of the same sequence.
            return QMCSampler(qmc_type="sobol", scramble=True, seed=seed, **others)
        case _:
            return RandomSampler(drawn)


def make_pruner(options: StudyOptions, epochs: int) -> BasePruner:
    """Make the pruner of a study, of whose trainings each has so many epochs at most."""
    match options.pruner:
        case "median":
            return MedianPruner(n_startup_trials=5, n_warmup_steps=max(1, epochs // 4))
        case "hyperband":
            return HyperbandPruner(min_resource=1, max_resource=epochs * options.repeats)
        case "wilcoxon":
            return WilcoxonPruner()
        case _:
            return NopPruner()
