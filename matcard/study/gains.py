"""The best configuration beside the defaults: on validation after the trials; at full length over seeds, and tested."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import warnings
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from optuna.trial import TrialState
from rich.console import Console
from sklearn.utils import resample

from matcard.errors import MatcardWarning, TrainingError
from matcard.evaluation.metrics import higher_is_better, metric_label
from matcard.evaluation.printed import format_score
from matcard.evaluation.statistics import corrected_t_test
from matcard.files import to_json
from matcard.study.objective import SCORES, PartScores, load_scores, mean_metrics
from matcard.study.trials import DEFAULTS, shown
from matcard.training.batches import DataModule
from matcard.training.config import config_from_dict, config_to_dict, flatten, read_config
from matcard.training.run import write_results
from matcard.training.rundir import RunDir, with_resolved_paths
from matcard.work.attempt import read_record
from matcard.work.conduct import Jobs
from matcard.work.screen import say
from matcard.work.trainings import Division, fitted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from optuna.trial import FrozenTrial

    from matcard.study.tuning import Begun
    from matcard.training.options import Config
    from matcard.work.attempt import Record, Wire
    from matcard.work.conduct import Agenda
    from matcard.work.trainings import SharedData

    Options = Mapping[str, Mapping[str, Any]]

TEST = "test.npz"
SUMMARY = "summary.json"
SIDES = ("defaults", "best")
RESAMPLES = 400
LEVEL = 0.95
Estimates = dict[str, dict[str, float]]
"""Metric -> `value`, with its 95 % interval from `low` to `high`; NaN where undefined."""
_SHOWN = ("macro_f1", "minority_recall", "balanced_accuracy", "average_precision")
"""Metrics of a table, beside those that the study improves."""


def show_gain(begun: Begun, best: Sequence[FrozenTrial], do: Callable[[Agenda], None], console: Console) -> None:
    """Print and write the best trial beside the defaults: their trial, or a training made now where they have none."""
    folder, settings, metrics = begun.folder, begun.settings, begun.metrics
    complete = begun.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    tried = [trial for trial in begun.study.get_trials(deepcopy=False) if trial.user_attrs.get(DEFAULTS)]
    reference = folder.defaults
    if tried:
        reference = folder.trial(tried[0].number)
    elif read_record(reference) is None:
        say(console, "the defaults lie outside the space: trained for the comparison")
        do(Jobs({reference: begun.job(config_from_dict(settings.trial))}, partial(say, console)))
    sides = reference, folder.trial(best[0].number)
    for path in sides:
        if (read_record(path) or {"status": "failed"})["status"] != "finished":
            folder.comparison.unlink(missing_ok=True)
            say(console, f"no comparison with the defaults: {path} holds no training that ended well")
            return
    before, after = (load_scores(path, settings.options.repeats) for path in sides)
    compared = beside(before, after, bootstrap(after, before))
    configs = settings.config, begun.space.apply(best[0].params, settings.config)
    options = differing_options(*map(config_from_dict, configs))
    how = "paired bootstrap over the validation samples"
    what = f"the recommended of {len(best)} on the Pareto front" if len(metrics) > 1 else "the best"
    title = f"Defaults -> trial {best[0].number}, {what} of {len(complete)}, on validation"
    say(console, "\n  ".join([title, *gain_lines(options, compared, metrics)]))
    say(console, f"intervals: {how}; the best is chosen on these samples, so its gain is a little too good")
    to_json({"options": options, "interval": how, "metrics": compared}, folder.comparison)
    say(console, f"best configuration: python -m matcard.train --config {folder.best}")


def differing_options(defaults: Config, best: Config) -> dict[str, dict[str, Any]]:
    """Give the options that differ, each with its two values by side; None where a side has none."""
    sides = [flatten(config_to_dict(config)) for config in (defaults, best)]
    both = {name: {side: of.get(name) for side, of in zip(SIDES, sides, strict=True)} for of in sides for name in of}
    return {name: values for name, values in both.items() if values["defaults"] != values["best"]}


def beside(defaults: Sequence[PartScores], best: Sequence[PartScores], gains: Estimates) -> dict[str, dict[str, Any]]:
    """Give the mean metrics of the defaults and of the best, and the gain of each: metric -> defaults, best, gain."""
    means = [mean_metrics([scores.metrics() for scores in side]) for side in (defaults, best)]
    return {name: {"defaults": means[0][name], "best": means[1][name], "gain": gain} for name, gain in gains.items()}


def gain_lines(options: Options, compared: Mapping[str, Any], metrics: Sequence[str]) -> list[str]:
    """Write the options that differ and the metrics, those that the study improves first, with the gain of each.

    Args:
        options: as `differing_options` gives them.
        compared: as `beside` gives it.
        metrics: those that the study improves.
    """
    lines = [f"{name}: {shown(values['defaults'])} -> {shown(values['best'])}" for name, values in options.items()]
    for name in dict.fromkeys([*metrics, *_SHOWN]):
        before, after = (format_score(compared[name][side]) for side in SIDES)
        gain = with_interval(compared[name]["gain"], "+.3f")
        lines.append(f"{metric_label(name)}: {before} -> {after}, gain {gain}")
    return lines


def with_interval(estimate: Mapping[str, float], form: str = ".3f") -> str:
    """Write an estimate with its interval, where there is one."""
    low, high = estimate["low"], estimate["high"]
    interval = "no interval" if np.isnan([low, high]).any() else f"95 % interval {low:{form}} to {high:{form}}"
    return f"{estimate['value']:{form}} ({interval})"


def train_fully(
    config: Config, shared: SharedData, division: Division, tested: bool, folder: Path, line: Wire
) -> Record:
    """Train at full length, or go on with what lies in the folder; write the scores of validation and test part.

    Args:
        config: with its seed.
        shared: divides the data.
        division: of the samples; all seeds have the study's test part, and each divides the rest anew.
        tested: whether the test part is looked at.
        folder: of the run.
        line: to the coordinator.
    """
    samples = shared.samples(config.data)
    data = DataModule(shared.divided(config.data, division, graphs=config.model.sees_graphs), config)
    run = RunDir(folder)
    if not run.split.is_file():
        run.create(config, samples, data.set)
    with fitted(run, config, data, line) as module:
        PartScores.of(module, data, "val").save(folder / SCORES)
        if tested:
            write_results(run, module, data, Console(quiet=True))
            PartScores.of(module, data, "test").save(folder / TEST)
    return {}


def retrain(begun: Begun, do: Callable[[Agenda], None], console: Console) -> None:
    """Train the best configuration and the defaults over seeds, test the best, and print both.

    Runs that are finished are kept; more seeds are added to them.

    Raises:
        TrainingError: no seed could be trained with both.
        KeyboardInterrupt: a signal came.
    """
    folder, settings, metrics = begun.folder, begun.settings, begun.metrics
    seeds = range(settings.config["seed"], settings.config["seed"] + settings.options.retrain)
    configs = {"best": read_config(folder.best), "defaults": with_resolved_paths(settings.config)}
    if configs["best"] == configs["defaults"]:
        del configs["defaults"]
        say(console, "the best are the defaults: they are trained once")
    # Another best, found by more trials, is trained in a folder of its own.
    digest = hashlib.sha256(json.dumps(configs, sort_keys=True, default=str).encode()).hexdigest()[:8]
    runs = folder.retrained / digest
    if tested := [path for path in folder.retrained.glob(f"*/{SUMMARY}") if path.parent != runs]:
        warnings.warn(
            f"{folder.retrained}: another best of this study was tested before ({len(tested)} in all). What is chosen "
            "by looking at several test figures looks better than it is: choose by validation",
            MatcardWarning,
            stacklevel=2,
        )
    say(console, f"train {' and '.join(configs)} over {len(seeds)} seeds at full length, in {runs}")
    jobs = {
        runs / f"{side}-{seed}": partial(
            train_fully,
            dataclasses.replace(config_from_dict(values), seed=seed),
            begun.data,
            Division(seeds[0], again=index),
            side == "best",
        )
        for index, seed in enumerate(seeds)
        for side, values in configs.items()
    }
    do(Jobs(jobs, partial(say, console)))
    trained = [seed for seed in seeds if all(read_record(runs / f"{side}-{seed}") for side in configs)]
    if not trained:
        raise TrainingError(f"no seed could be trained with both configurations, see {runs}")
    if left_out := len(seeds) - len(trained):
        again = "not trained with both configurations; the same command tries them again"
        say(console, f"{left_out} of {len(seeds)} seeds are left out: {again}")
    _show_retrained(runs, configs, trained, metrics, console)


def _show_retrained(
    runs: Path, configs: Mapping[str, Mapping[str, Any]], seeds: Sequence[int], metrics: Sequence[str], console: Console
) -> None:
    """Print and write what both are worth on validation, the verdict, and the best on test.

    `configs` has that of the best alone where the defaults are the same.
    """
    sides = ("defaults" if "defaults" in configs else "best", "best")
    defaults, best = ([PartScores.load(runs / f"{side}-{seed}" / SCORES) for seed in seeds] for side in sides)
    compared = beside(defaults, best, over_seeds(best, defaults))
    options = differing_options(*(config_from_dict(configs[side]) for side in sides))
    title = f"Defaults -> best at full length, on validation: mean over {len(seeds)} seeds"
    say(console, "\n  ".join([title, *gain_lines(options, compared, metrics)]))
    say(console, "intervals: corrected resampled t-test over seeds")
    for name in metrics:
        say(console, verdict(name, compared[name]["gain"]))
    test = [PartScores.load(runs / f"best-{seed}" / TEST) for seed in seeds]
    tested, by_seed = bootstrap(test), [scores.metrics() for scores in test]
    of_seeds = {name: [found[name] for found in by_seed] for name in tested}
    lines = [
        f"{metric_label(name)}: {with_interval(tested[name])}; {min(of_seeds[name]):.3f} to {max(of_seeds[name]):.3f}"
        for name in dict.fromkeys([*metrics, *_SHOWN])
    ]
    title = f"The best, on test: mean over {len(seeds)} seeds; the lowest and the highest seed"
    say(console, "\n  ".join([title, *lines]))
    say(console, f"intervals: bootstrap over the {len(test[0].targets)} test samples, the same for all seeds")
    found = {name: {**mean, "seeds": of_seeds[name]} for name, mean in tested.items()}
    to_json({"seeds": list(seeds), "validation": compared, "test": found}, runs / SUMMARY)


def verdict(metric: str, gain: Mapping[str, float]) -> str:
    """Say which of the two configurations the validation parts of several seeds speak for."""
    label, ahead = metric_label(metric), gain["value"] if higher_is_better(metric) else -gain["value"]
    if ahead < 0:
        return (
            f"validation {label}: the defaults are ahead over these seeds, so the best trial was a lucky one: keep the "
            "defaults, or search with --seeds 3, which takes out luck"
        )
    if ahead == 0 or not gain["low"] * gain["high"] > 0:
        why = "there is no interval" if np.isnan([gain["low"], gain["high"]]).any() else "the interval has 0"
        return f"validation {label}: the best is not behind the defaults; a difference is not shown ({why})"
    return f"validation {label}: the best is ahead of the defaults by more than the seeds' scatter"


def bootstrap(
    scores: Sequence[PartScores], less: Sequence[PartScores] | None = None, *, resamples: int = RESAMPLES
) -> Estimates:
    """Give the mean of each metric over trainings, or the gain over others, with its interval over resampled samples.

    The samples are drawn inside each class, the same for both. The interval says how far a gain hangs on which samples
    are in the part. It does not know that one of the two was chosen for its value there.

    Args:
        scores: a training for each fold or seed.
        less: others that the gain is over; on other samples than the first there is no interval.
        resamples: number of resamples.
    """
    if less is not None and [one.ids.tolist() for one in scores] != [one.ids.tolist() for one in less]:
        resamples = 0
    draws = _draws(scores, resamples)
    if less is not None:
        draws = draws - _draws(less, resamples)
    low, high = np.quantile(draws[1:] if resamples else draws * np.nan, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    found = zip(draws, draws.iloc[0].tolist(), low.tolist(), high.tolist(), strict=True)
    return {str(name): {"value": value, "low": low, "high": high} for name, value, low, high in found}


def over_seeds(first: Sequence[PartScores], second: Sequence[PartScores]) -> Estimates:
    """Give the mean gain of each metric of the first over the second, by the corrected resampled t-test over seeds.

    Args:
        first: scores of the validation parts of the one, a seed each.
        second: of the other, with the same seeds.
    """
    share = float(np.mean([len(scores.targets) / scores.train_counts.sum() for scores in first]))
    a, b = (pd.DataFrame([scores.metrics() for scores in side]) for side in (first, second))
    tested = {str(name): corrected_t_test(a[name].tolist(), b[name].tolist(), share, LEVEL) for name in a}
    return {name: {"value": found.mean, "low": found.low, "high": found.high} for name, found in tested.items()}


def _draws(scores: Sequence[PartScores], resamples: int) -> pd.DataFrame:
    """Give the mean of each metric over trainings, of the samples as they are and of each resample, a row each."""
    means = [mean_metrics([one.metrics() for one in scores])]
    for number in range(resamples):
        # Trainings scored on the same samples are resampled alike: they are one part, looked at several times.
        drawn = [resample(np.arange(len(one.ids)), stratify=one.targets, random_state=number) for one in scores]
        means.append(mean_metrics([one.metrics(some) for one, some in zip(scores, drawn, strict=True)]))
    return pd.DataFrame(means)
