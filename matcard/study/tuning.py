"""A study from its settings to its files: begun once, run by any number of workers, reported."""

from __future__ import annotations

import json
import random
import warnings
from typing import TYPE_CHECKING, Any

import optuna

from matcard.cli import make_console
from matcard.errors import InputError, MatcardWarning, TrainingError
from matcard.evaluation.metrics import higher_is_better
from matcard.study.folder import StudyDir
from matcard.study.options import StudyOptions
from matcard.study.results.comparison import comparison_table, differing_options, write_comparison
from matcard.study.results.files import full_config, write_best, write_figures, write_table
from matcard.study.results.gain import paired_bootstrap
from matcard.study.results.table import DEFAULTS, complete
from matcard.study.retrain import retrain
from matcard.study.screen import Screen
from matcard.study.search.pruning import make_pruner
from matcard.study.search.samplers import MakeSampler, check_sampler
from matcard.study.search.space_check import check_space
from matcard.study.search.space_file import make_space
from matcard.study.settings import Settings, completed, read_entries, trial_settings
from matcard.study.storage.opening import open_storage
from matcard.study.trial.data import TrialData
from matcard.study.trial.evaluation import load_scores, mean_metrics
from matcard.study.trial.objective import Objective
from matcard.study.workers.run import run_trials
from matcard.training.config import config_from_dict, config_to_dict, overlaid
from matcard.training.fit import check_config
from matcard.training.rundir import write_text
from matcard.work.life import Heartbeat

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from optuna.trial import FrozenTrial
    from rich.console import Console

    from matcard.study.search.space import Space
    from matcard.training.options import Config

FINISHED = "finished"
"""Marks that the training with the defaults has ended."""
_SETTINGS = "settings"
"""Attribute of a study: what it began with, as JSON, for workers that do not share its directory."""


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
    check(folder, settings, space)
    trial_config = config_from_dict(settings.trial)
    objective = Objective(settings.trial, space, options, metrics, TrialData(config.seed, options.folds), folder)
    # Read and drawn as graphs once, before several workers would, and before a study is begun on what cannot be read.
    objective.data.batches(trial_config)
    study, total = begin(folder, settings, space, metrics, console)
    try:
        with Screen(console, study.get_trials(deepcopy=False), metrics, total, options.jobs) as screen:
            summary = run_trials(
                folder.name,
                objective,
                MakeSampler(options.sampler, space, config.seed, options.jobs),
                url=options.storage,
                folder=folder.path,
                total=total,
                jobs=options.jobs,
                timeout=options.timeout,
                pruner=make_pruner(options, trial_config.trainer.max_epochs),
                heartbeat=Heartbeat.within(options.grace),
                on_trial=screen,
                go_on=f"--study {options.study or folder.path}",
            )
    except KeyboardInterrupt:
        trials = study.get_trials(deepcopy=False)
        write_table(folder, trials, metrics)
        write_best(folder, trials, metrics, space, settings.config)
        raise
    if summary.stopped != "failing":
        console.print(summary.message, soft_wrap=True, markup=False)
    show_best(folder, study, settings, space, objective, console)
    if config.report:
        report(folder.path)
    if summary.stopped == "failing":
        raise TrainingError(f"{summary.message}; all trials are in {folder.table}")
    if options.retrain and folder.best.is_file():
        retrain(folder, settings, metrics, console)
        if config.report:
            report(folder.path)
    return folder


def check(folder: StudyDir, settings: Settings, space: Space) -> None:
    """Refuse settings that cannot be used, or others than the study began with.

    Raises:
        InputError: what is wrong with them.
    """
    options = settings.options
    if options.storage and ":***@" in options.storage:
        raise InputError("--storage: the study is in a database whose password is not kept: give --storage again")
    check_space(space, settings.trial, f"--space {options.space}")
    check_config(config_from_dict(settings.trial))
    if config_from_dict(settings.trial).trainer.devices != 1:
        raise InputError(
            "--trainer.devices: a trial trains on one device; use several by --jobs, or by a process for each device "
            "(see the README)"
        )
    if note := check_sampler(options.sampler, space):
        warnings.warn(note, MatcardWarning, stacklevel=2)
    if folder.settings.is_file():
        Settings.read(folder.settings).check_same(settings, folder.path)


def begin(
    folder: StudyDir, settings: Settings, space: Space, metrics: tuple[str, ...], console: Console
) -> tuple[optuna.Study, int]:
    """Make the study, or open it where it is; give it with the number of trials that it is to finish.

    Raises:
        InputError: the study, or one of its name in the storage, began with other settings.
    """
    options = settings.options
    points = grid_points(settings, space) if options.sampler == "grid" else []
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with folder.lock:
        if folder.settings.is_file():
            Settings.read(folder.settings).check_same(settings, folder.path)
        study = optuna.create_study(
            study_name=folder.name,
            storage=open_storage(options.storage, folder.path),
            directions=["maximize" if higher_is_better(name) else "minimize" for name in metrics],
            load_if_exists=True,
        )
        begun = json.dumps([settings.trial, settings.space, metrics, options.folds, options.seeds], default=str)
        if _SETTINGS not in study.user_attrs:
            _put_in_line(study, settings, space, points)
            study.set_user_attr(_SETTINGS, begun)
        elif not _same(study.user_attrs[_SETTINGS], begun):
            raise InputError(
                f"--storage has a study {folder.name!r} already, of another configuration or space: name another "
                "--study"
            )
        settings.write(folder.settings)
    console.print(f"study: {folder.path}", soft_wrap=True)
    if points and options.trials != len(points):
        console.print(f"the grid has {len(points)} points, {min(options.trials, len(points))} of them are tried")
    return study, min(options.trials, len(points)) if points else options.trials


def _same(begun: str, now: str) -> bool:
    """Tell whether a study began with the same, options aside that its version did not have."""
    (trial, *others), (trial_now, *others_now) = json.loads(begun), json.loads(now)
    return bool(others == others_now and completed(trial) == trial_now)


def grid_points(settings: Settings, space: Space) -> list[dict[str, Any]]:
    """Give the points of the grid in an order that the seed decides, the defaults first."""
    points = space.grid(settings.trial)
    random.Random(settings.config["seed"]).shuffle(points)
    defaults = space.point_of(settings.trial)
    return points if defaults is None else [defaults, *(point for point in points if point != defaults)]


def _put_in_line(study: optuna.Study, settings: Settings, space: Space, points: list[dict[str, Any]]) -> None:
    """Put the defaults in line, where the space holds them, and the points of a grid."""
    defaults = space.point_of(settings.trial)
    if defaults is not None:
        study.enqueue_trial(defaults, user_attrs={DEFAULTS: True}, skip_if_exists=True)
    for point in points:
        study.enqueue_trial(point, skip_if_exists=True)


def show_best(
    folder: StudyDir, study: optuna.Study, settings: Settings, space: Space, objective: Objective, console: Console
) -> None:
    """Write what the study has found, and print the best beside the defaults."""
    trials = study.get_trials(deepcopy=False)
    metrics, options = objective.metrics, settings.options
    table = write_table(folder, trials, metrics)
    best = write_best(folder, trials, metrics, space, settings.config)
    write_figures(folder, study, table, metrics, space)
    if not best:
        return
    reference = reference_folder(folder, trials, settings, objective, console)
    if reference is None:
        return
    try:
        before, after = (load_scores(path, options.repeats) for path in (reference, folder.trial(best[0].number)))
    except FileNotFoundError as error:
        console.print(f"no comparison with the defaults: {error.filename} is not here, but on the machine that ran it")
        return
    gains = paired_bootstrap(after, before)
    scores = [mean_metrics([one.metrics() for one in side]) for side in (before, after)]
    differing = differing_options(config_from_dict(settings.config), full_config(best[0], space, settings.config))
    how = "paired bootstrap over the validation samples"
    caption = f"intervals: {how}; the best is chosen on these samples, so its gain is a little too good"
    if gains is None:
        caption = "no intervals: the two were validated on different samples"
    count = len(table[table["state"] == "complete"])
    what = f"the recommended of {len(best)} on the Pareto front" if len(metrics) > 1 else "the best"
    title = f"Trial {best[0].number}, {what} of {count}, beside the defaults, on validation"
    console.print(comparison_table(title, differing, scores[0], scores[1], gains, metrics))
    console.print(caption, soft_wrap=True)
    write_comparison(folder.comparison, differing, scores[0], scores[1], gains, how)
    console.print(f"best configuration: python -m matcard.train --config {folder.best}", soft_wrap=True)


def reference_folder(
    folder: StudyDir, trials: Sequence[FrozenTrial], settings: Settings, objective: Objective, console: Console
) -> Path | None:
    """Give the folder of a training with the defaults: of their trial, or of one made now where they have none."""
    tried = [trial for trial in trials if trial.user_attrs.get(DEFAULTS)]
    done = complete(tried)
    if done:
        return folder.trial(done[0].number)
    if tried:
        console.print("no comparison with the defaults: their trial gave no value")
        return None
    if not (folder.defaults / FINISHED).is_file():
        console.print("the defaults lie outside the space: trained for the comparison")
        try:
            objective.evaluate(config_from_dict(settings.trial), folder.defaults)
        except TrainingError as error:
            console.print(f"no comparison with the defaults: {error}", markup=False)
            return None
        write_text(folder.defaults / FINISHED, "")
    return folder.defaults
