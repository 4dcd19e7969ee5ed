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
from matcard.study.folder import StudyDir
from matcard.study.options import StudyOptions
from matcard.study.results.comparison import comparison_table, differing_options, write_comparison
from matcard.study.results.files import full_config, write_best, write_figures, write_table
from matcard.study.results.gain import paired_bootstrap
from matcard.study.results.table import DEFAULTS, complete
from matcard.study.retrain import retrain
from matcard.study.search.pruning import make_pruner
from matcard.study.search.samplers import check_sampler, make_sampler
from matcard.study.search.space_check import check_space
from matcard.study.search.space_file import make_space
from matcard.study.settings import Settings, read_entries, trial_settings
from matcard.study.storage import JOURNAL, close_storage, open_storage
from matcard.study.trial.data import TrialData
from matcard.study.trial.evaluation import load_scores, mean_metrics
from matcard.study.trial.objective import Objective
from matcard.study.trials import Trials, count_finished
from matcard.training.config import config_from_dict, config_to_dict, overlaid
from matcard.training.fit import check_config
from matcard.training.rundir import with_resolved_paths
from matcard.work.attempt import read_record, settle
from matcard.work.content import content_of, require_same
from matcard.work.engine import engine
from matcard.work.jobs import Jobs
from matcard.work.lock import held
from matcard.work.screen import Screen

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from optuna.trial import FrozenTrial
    from rich.console import Console

    from matcard.study.search.space import Space
    from matcard.training.options import Config
    from matcard.work.attempt import Record
    from matcard.work.conduct import Agenda

    Do = Callable[[Agenda], None]
    """Has an agenda done."""

TOKEN = "token"
"""Attribute of a study in its storage: which directory it is of."""


@dataclass(frozen=True)
class Begun:
    """A study that has begun: where it is, what it searches, what a trial is worth."""

    folder: StudyDir
    settings: Settings
    space: Space
    metrics: tuple[str, ...]
    data: TrialData
    study: optuna.Study

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
    check(folder, settings, space)
    data = TrialData(config.seed, options.folds)
    with held(folder.path, "--study"):
        # Read and drawn as graphs once, before workers would, and before a study is begun on what cannot be read.
        trial_config = config_from_dict(settings.trial)
        data.batches(trial_config)
        content = content_of(data.samples(trial_config))
        require_same(content, folder.data, f"--study {folder.path}", "name another --study, or put the data back")
        begun = begin(folder, settings, space, metrics, data)
        console.print(f"study: {folder.path}", soft_wrap=True)
        try:
            with engine(options.jobs, options.scheduler, folder.path, console) as do:
                search(begun, do, report if config.report else lambda _: None, console)
        finally:
            close_storage(begun.study._storage)
    return folder


def search(begun: Begun, do: Do, report: Callable[[Path], object], console: Console) -> None:
    """Have the trials made, show the best, and retrain it.

    Raises:
        TrainingError: too many trials fail.
        KeyboardInterrupt: a signal came; the message says what is kept.
    """
    folder, options, study = begun.folder, begun.settings.options, begun.study
    is_grid = options.sampler == "grid"
    points = len(grid_points(begun.settings, begun.space)) if is_grid else options.trials
    total = min(options.trials, points)
    if options.trials != points:
        console.print(f"the grid has {points} points, {total} of them are tried")
    with Screen(console, "trials", total, count_finished(study.trials)) as screen:
        trials = Trials(
            study,
            begun.space,
            begun.settings.trial,
            begun.job,
            folder,
            begun.metrics,
            total=total,
            replaced=not is_grid,
            timeout=options.timeout,
            screen=screen,
        )
        try:
            do(trials)
        except KeyboardInterrupt:
            write_table(folder, trials.trials, begun.metrics)
            write_best(folder, trials.trials, begun.metrics, begun.space, begun.settings.config)
            raise KeyboardInterrupt(
                f"{count_finished(trials.trials)} of {total} trials are finished and kept, and what ran goes on where "
                f"it was; go on with --study {options.study or folder.path}"
            ) from None
    if trials.stop != "failing":
        console.print(trials.summary(), soft_wrap=True, markup=False)
    show_best(begun, do, console)
    report(folder.path)
    if trials.stop == "failing":
        raise TrainingError(f"{trials.summary()}; all trials are in {folder.table}")
    if options.retrain and folder.best.is_file():
        retrain(folder, begun.settings, begun.metrics, do, console)
        report(folder.path)


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
    trainer = config_from_dict(settings.trial).trainer
    if (trainer.devices, trainer.num_nodes) != (1, 1):
        raise InputError("--trainer.devices: a trial trains on one device; use several by --jobs or --scheduler")
    if note := check_sampler(options.sampler, space):
        warnings.warn(note, MatcardWarning, stacklevel=2)
    if folder.settings.is_file():
        Settings.read(folder.settings).check_same(settings, folder.path)


def begin(folder: StudyDir, settings: Settings, space: Space, metrics: tuple[str, ...], data: TrialData) -> Begun:
    """Make the study, or open it where it is.

    Raises:
        InputError: it began with other settings, or the storage holds another one.
    """
    options = settings.options
    before = Settings.read(folder.settings) if folder.settings.is_file() else None
    if before is not None:
        before.check_same(settings, folder.path)
    name, token = (before.name, before.token) if before else (folder.name, uuid.uuid4().hex)
    settings = replace(settings, name=name, token=token)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = open_storage(options.storage, folder.path)
    where = (options.storage and "--storage") or f"{folder.path / JOURNAL}"
    others = [study.study_name for study in storage.get_all_studies() if study.study_name != name]
    if options.storage is None and others:
        raise InputError(
            f"{where} holds the study {others[0]!r}, and the directory is that of {name!r}: give it its own journal "
            "back, or name another --study"
        )
    settings.write(folder.settings)
    study = optuna.create_study(
        study_name=name,
        storage=storage,
        directions=["maximize" if higher_is_better(metric) else "minimize" for metric in metrics],
        load_if_exists=True,
        pruner=make_pruner(options, config_from_dict(settings.trial).trainer.max_epochs),
    )
    if TOKEN not in study.user_attrs and not study.trials:
        study.set_user_attr(TOKEN, token)
    if study.user_attrs.get(TOKEN) != token:
        if before is None:
            folder.settings.unlink()
        raise InputError(f"{where} holds another study of the name {name!r}: name another --study")
    _put_in_line(study, settings, space)
    parallel = options.jobs > 1 or options.scheduler is not None
    found = len(study.trials) if before else 0
    study.sampler = make_sampler(options.sampler, settings.config["seed"], found=found, parallel=parallel)
    return Begun(folder, settings, space, metrics, data, study)


def grid_points(settings: Settings, space: Space) -> list[dict[str, Any]]:
    """Give the points of the grid in an order that the seed decides, the defaults first."""
    points = space.grid(settings.trial)
    random.Random(settings.config["seed"]).shuffle(points)
    defaults = space.point_of(settings.trial)
    return points if defaults is None else [defaults, *(point for point in points if point != defaults)]


def _put_in_line(study: optuna.Study, settings: Settings, space: Space) -> None:
    """Put the defaults in line, where the space holds them, and the points of a grid; those that are there stay."""
    defaults = space.point_of(settings.trial)
    if defaults is not None:
        study.enqueue_trial(defaults, user_attrs={DEFAULTS: True}, skip_if_exists=True)
    for point in grid_points(settings, space) if settings.options.sampler == "grid" else []:
        study.enqueue_trial(point, skip_if_exists=True)


def show_best(begun: Begun, do: Do, console: Console) -> None:
    """Write what the study has found, and print the best beside the defaults."""
    folder, settings, metrics, options = begun.folder, begun.settings, begun.metrics, begun.settings.options
    trials = begun.study.get_trials(deepcopy=False)
    table = write_table(folder, trials, metrics)
    best = write_best(folder, trials, metrics, begun.space, settings.config)
    write_figures(folder, begun.study, table, metrics, begun.space)
    if not best:
        return
    reference = reference_folder(begun, trials, do, console)
    if reference is None:
        return
    before, after = (load_scores(path, options.repeats) for path in (reference, folder.trial(best[0].number)))
    gains = paired_bootstrap(after, before)
    scores = [mean_metrics([one.metrics() for one in side]) for side in (before, after)]
    chosen = full_config(best[0], begun.space, settings.config)
    differing = differing_options(config_from_dict(settings.config), chosen)
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


def reference_folder(begun: Begun, trials: Sequence[FrozenTrial], do: Do, console: Console) -> Path | None:
    """Give the folder of a training with the defaults: of their trial, or of one made now where they have none."""
    folder = begun.folder
    tried = [trial for trial in trials if trial.user_attrs.get(DEFAULTS)]
    done = complete(tried)
    if done:
        return folder.trial(done[0].number)
    if tried:
        console.print("no comparison with the defaults: their trial gave no value")
        return None

    def ended(_: str, record: Record, written: Path | None) -> None:
        if record["status"] == "finished" and written is not None:
            settle(written, folder.defaults)
        else:
            console.print(f"no comparison with the defaults: {record['reason']}", markup=False)

    if read_record(folder.defaults) is None:
        console.print("the defaults lie outside the space: trained for the comparison")
        do(Jobs({"defaults": begun.job(config_from_dict(begun.settings.trial))}, ended))
    return folder.defaults if read_record(folder.defaults) else None
