"""A study from its settings to its files: begun once, gone on with, reported."""

from __future__ import annotations

import random
import uuid
import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import optuna

from matcard.cli import make_console
from matcard.errors import InputError, MatcardWarning, TrainingError
from matcard.evaluation.metrics import higher_is_better
from matcard.study.data import TrialData
from matcard.study.figures import write_figures
from matcard.study.gains import retrain, show_gain
from matcard.study.objective import Objective
from matcard.study.options import StudyOptions
from matcard.study.samplers import check_sampler, make_pruner, make_sampler
from matcard.study.settings import Settings, StudyDir, read_entries, trial_settings
from matcard.study.space import make_space
from matcard.study.space_check import check_space
from matcard.study.storage import JOURNAL, close_storage, open_storage
from matcard.study.summary import DEFAULTS, write_best, write_table
from matcard.study.trials import Trials, count_finished
from matcard.training.config import config_from_dict, config_to_dict, overlaid
from matcard.training.fit import check_config
from matcard.training.rundir import with_resolved_paths
from matcard.work.content import content_of, require_same
from matcard.work.lock import held
from matcard.work.pool import engine
from matcard.work.screen import Screen

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from rich.console import Console

    from matcard.study.space import Space
    from matcard.training.options import Config
    from matcard.work.conduct import Agenda


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
    data: TrialData
    study: optuna.Study
    points: int | None

    def job(self, config: Config) -> Objective:
        """Give what is done for a configuration, wherever it is done."""
        values = with_resolved_paths(config_to_dict(config))
        return Objective(values, self.settings.options, self.metrics, self.data)


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
        >>> from matcard.study import tune  # doctest: +SKIP
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
        console.print(f"study: {folder.path}", soft_wrap=True)
        try:
            with engine(options.jobs, options.scheduler, folder.path, console) as do:
                search(begun, do, report if config.report else lambda _: None, console)
        finally:
            close_storage(begun.study._storage)
    return folder


def search(begun: Begun, do: Callable[[Agenda], None], report: Callable[[Path], object], console: Console) -> None:
    """Have the trials made, show the best, and retrain it.

    Raises:
        TrainingError: too many trials fail.
        KeyboardInterrupt: a signal came; the message says what is kept.
    """
    folder, options, study = begun.folder, begun.settings.options, begun.study
    total = options.trials
    if begun.points is not None and begun.points != total:
        total = min(total, begun.points)
        console.print(f"the grid has {begun.points} points, {total} of them are tried")
    with Screen(console, "trials", total, count_finished(study.trials)) as screen:
        trials = Trials(begun, total, screen)
        try:
            do(trials)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                f"{count_finished(trials.trials)} of {total} trials are finished and kept, and what ran goes on where "
                f"it was; go on with --study {options.study or folder.path}"
            ) from None
        finally:
            table = write_table(folder, study, begun.metrics)
            best = write_best(folder, study, begun.metrics, begun.space, begun.settings.config)
    if trials.stop != "failing":
        console.print(trials.summary(), soft_wrap=True, markup=False)
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
    if note := check_sampler(options.sampler, space):
        warnings.warn(note, MatcardWarning, stacklevel=2)


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
    data, config = TrialData(seed, options.folds), config_from_dict(settings.trial)
    data.batches(config)
    content = content_of(data.samples(config))
    require_same(content, folder.data, f"--study {folder.path}", "name another --study, or put the data back")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = open_storage(options.storage, folder.path)
    others = [] if options.storage else [s.study_name for s in storage.get_all_studies() if s.study_name != name]
    if others:
        raise InputError(
            f"{folder.path / JOURNAL} holds the study {others[0]!r}, and the directory is that of {name!r}: give it "
            "its own journal back, or name another --study"
        )
    settings.write(folder.settings)
    study = optuna.create_study(
        study_name=name,
        storage=storage,
        directions=["maximize" if higher_is_better(metric) else "minimize" for metric in metrics],
        load_if_exists=True,
        pruner=make_pruner(options, config.trainer.max_epochs),
    )
    parallel = options.jobs > 1 or options.scheduler is not None
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
