"""The best configuration beside the defaults: on validation after the trials; at full length over seeds, and tested."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import warnings
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

from matcard.errors import MatcardWarning, TrainingError
from matcard.evaluation.metrics import higher_is_better, metric_label
from matcard.evaluation.statistics import corrected_t_test
from matcard.evaluation.tables import format_score
from matcard.files import to_json
from matcard.study.objective import SCORES, PartScores, load_scores, mean_metrics
from matcard.study.trials import DEFAULTS, complete, full_config, shown
from matcard.training.batches import DataModule
from matcard.training.config import config_from_dict, config_to_dict, flatten, read_config
from matcard.training.run import write_results
from matcard.training.rundir import RunDir, with_resolved_paths
from matcard.work.attempt import read_record
from matcard.work.conduct import Jobs
from matcard.work.trainings import Division, fitted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from jaxtyping import Int
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
    trials = begun.study.get_trials(deepcopy=False)
    tried = [trial for trial in trials if trial.user_attrs.get(DEFAULTS)]
    reference = folder.defaults
    if tried:
        reference = folder.trial(tried[0].number)
    elif read_record(reference) is None:
        console.print("the defaults lie outside the space: trained for the comparison")
        do(Jobs({reference: begun.job(config_from_dict(settings.trial))}, partial(console.print, markup=False)))
    if (read_record(reference) or {"status": "failed"})["status"] != "finished":
        console.print("no comparison with the defaults: their training gave no value")
        return
    before, after = (load_scores(path, settings.options.repeats) for path in (reference, folder.trial(best[0].number)))
    compared = beside(before, after, paired_bootstrap(after, before))
    options = differing_options(config_from_dict(settings.config), full_config(best[0], begun.space, settings.config))
    how = "paired bootstrap over the validation samples"
    caption = f"intervals: {how}; the best is chosen on these samples, so its gain is a little too good"
    if all(np.isnan(row["gain"]["low"]) for row in compared.values()):
        caption = "no intervals: the two were validated on different samples"
    what = f"the recommended of {len(best)} on the Pareto front" if len(metrics) > 1 else "the best"
    title = f"Trial {best[0].number}, {what} of {len(complete(trials))}, beside the defaults, on validation"
    console.print(gains_table(title, options, compared, metrics))
    console.print(caption, soft_wrap=True)
    to_json({"options": options, "interval": how, "metrics": compared}, folder.comparison)
    console.print(f"best configuration: python -m matcard.train --config {folder.best}", soft_wrap=True)


def differing_options(defaults: Config, best: Config) -> dict[str, dict[str, Any]]:
    """Give the options that differ, each with its two values by side; None where a side has none."""
    sides = [flatten(config_to_dict(config)) for config in (defaults, best)]
    both = {name: {side: of.get(name) for side, of in zip(SIDES, sides, strict=True)} for of in sides for name in of}
    return {name: values for name, values in both.items() if values["defaults"] != values["best"]}


def beside(defaults: Sequence[PartScores], best: Sequence[PartScores], gains: Estimates) -> dict[str, dict[str, Any]]:
    """Give the mean metrics of the defaults and of the best, and the gain of each: metric -> defaults, best, gain."""
    means = [mean_metrics([scores.metrics() for scores in side]) for side in (defaults, best)]
    return {name: {"defaults": means[0][name], "best": means[1][name], "gain": gain} for name, gain in gains.items()}


def gains_table(title: str, options: Options, compared: Mapping[str, Any], metrics: Sequence[str]) -> Table:
    """Show the options that differ and the metrics, with the gain of each and its interval.

    Args:
        title: of the table.
        options: as `differing_options` gives them.
        compared: as `beside` gives it.
        metrics: those that the study improves.
    """
    rows: dict[str, Sequence[str]] = {
        name: (*("-" if values[side] is None else shown(values[side]) for side in SIDES), "", "")
        for name, values in options.items()
    }
    for name in shown_metrics(metrics):
        gain = compared[name]["gain"]
        scores = (format_score(compared[name][side]) for side in SIDES)
        rows[metric_label(name)] = (*scores, f"{gain['value']:+.3f}", interval(gain, "+.3f"))
    return rows_table(title, (*SIDES, "gain", "95 % interval"), rows, metrics)


def shown_metrics(metrics: Sequence[str]) -> list[str]:
    """Give the metrics of a table: those that the study improves first."""
    return list(dict.fromkeys([*metrics, *_SHOWN]))


def rows_table(title: str, header: Sequence[str], rows: Mapping[str, Sequence[str]], metrics: Sequence[str]) -> Table:
    """Show rows by what stands before them, those of the metrics that the study improves in bold."""
    table = Table(title=title, box=None, pad_edge=False, title_justify="left")
    table.add_column("")
    for column in header:
        table.add_column(column, justify="right", no_wrap=True)
    for name, cells in rows.items():
        table.add_row(name, *cells, style="bold" if name in map(metric_label, metrics) else None)
    return table


def interval(estimate: Mapping[str, float], form: str = ".3f") -> str:
    """Write the interval of an estimate; a dash where there is none."""
    low, high = estimate["low"], estimate["high"]
    return "-" if np.isnan([low, high]).any() else f"{low:{form}} to {high:{form}}"


@dataclass(frozen=True)
class Retraining:
    """Trains a configuration with one seed at full length, and tests it if so; picklable.

    All seeds have the study's test part; each divides the rest anew.

    Attributes:
        config: with its seed.
        data: divides the data.
        division: of the samples; all seeds have the same test part.
        tested: whether the test part is looked at.
    """

    config: Config
    data: SharedData
    division: Division
    tested: bool

    def __call__(self, folder: Path, line: Wire) -> Record:
        """Train, or go on with what lies in the folder; write the scores of the validation and of the test part."""
        options, graphs = self.config.data, self.config.model.sees_graphs
        samples = self.data.samples(options)
        data = DataModule(self.data.divided(options, self.division, graphs=graphs), self.config)
        run = RunDir(folder)
        if not run.split.is_file():
            run.create(self.config, samples, data.set)
        with fitted(run, self.config, data, line) as module:
            PartScores.of(module, data, "val").save(folder / SCORES)
            if self.tested:
                write_results(run, module, data, Console(quiet=True))
                PartScores.of(module, data, "test").save(folder / TEST)
        return {}


def retrain(begun: Begun, do: Callable[[Agenda], None], console: Console) -> None:
    """Train the best configuration and the defaults over seeds, test the best, and print both.

    Runs that are finished are kept; more seeds are added to them.

    Raises:
        TrainingError: no seed could be trained with both.
        KeyboardInterrupt: a signal came; the message says what is kept.
    """
    folder, settings, metrics = begun.folder, begun.settings, begun.metrics
    seeds = range(settings.config["seed"], settings.config["seed"] + settings.options.retrain)
    configs = {"best": read_config(folder.best), "defaults": with_resolved_paths(settings.config)}
    if configs["best"] == configs["defaults"]:
        del configs["defaults"]
        console.print("the best are the defaults: they are trained once")
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
    console.print(f"train {' and '.join(configs)} over {len(seeds)} seeds at full length, in {runs}", soft_wrap=True)
    jobs = {
        runs / f"{side}-{seed}": Retraining(
            dataclasses.replace(config_from_dict(values), seed=seed),
            begun.data,
            Division(seeds[0], again=index),
            tested=side == "best",
        )
        for index, seed in enumerate(seeds)
        for side, values in configs.items()
    }
    try:
        do(Jobs(jobs, partial(console.print, markup=False)))
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"runs that are trained are kept; go on with --study {folder.path}") from None
    trained = [seed for seed in seeds if all(read_record(runs / f"{side}-{seed}") for side in configs)]
    if not trained:
        raise TrainingError(f"no seed could be trained with both configurations, see {runs}")
    if len(trained) < len(seeds):
        console.print(
            f"{len(seeds) - len(trained)} of {len(seeds)} seeds are left out: not trained with both configurations; "
            "the same command tries them again",
            soft_wrap=True,
        )
    show_retrained(runs, configs, trained, metrics, console)


def show_retrained(
    runs: Path, configs: Mapping[str, Mapping[str, Any]], seeds: Sequence[int], metrics: Sequence[str], console: Console
) -> None:
    """Print and write what the best and the defaults are worth on validation, the verdict, and the best on test.

    Args:
        runs: folder of the runs.
        configs: side -> configuration; only that of the best where the defaults are the same.
        seeds: that were trained with both.
        metrics: that the study improves.
        console: what is printed to.
    """
    best, defaults = (
        [PartScores.load(runs / f"{side}-{seed}" / SCORES) for seed in seeds]
        for side in ("best", "defaults" if "defaults" in configs else "best")
    )
    compared = beside(defaults, best, over_seeds(best, defaults))
    options = differing_options(
        *(config_from_dict(configs.get(side, configs["best"])) for side in ("defaults", "best"))
    )
    title = f"At full length, on validation: mean over {len(seeds)} seeds"
    console.print(gains_table(title, options, compared, metrics))
    console.print("intervals: corrected resampled t-test over seeds")
    for name in metrics:
        console.print(verdict(name, compared[name]["gain"]), soft_wrap=True)
    test = [PartScores.load(runs / f"best-{seed}" / TEST) for seed in seeds]
    tested, by_seed = bootstrap(test), [scores.metrics() for scores in test]
    of_seeds = {name: [found[name] for found in by_seed] for name in tested}
    rows = {
        metric_label(name): (
            format_score(tested[name]["value"]),
            interval(tested[name]),
            f"{format_score(min(of_seeds[name]))} to {format_score(max(of_seeds[name]))}",
        )
        for name in shown_metrics(metrics)
    }
    header = ("mean", "95 % interval", "lowest and highest seed")
    console.print(rows_table(f"The best, on test: mean over {len(seeds)} seeds", header, rows, metrics))
    console.print(f"intervals: bootstrap over the {len(test[0].targets)} test samples, the same for all seeds")
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


def paired_bootstrap(
    first: Sequence[PartScores], second: Sequence[PartScores], *, resamples: int = RESAMPLES, seed: int = 0
) -> Estimates:
    """Give the gain of each metric of the first over the second, with its interval over resampled samples.

    The samples are drawn inside each class, the same for both; the metric is the mean over trainings. The interval says
    how far the difference hangs on which samples are in the part. It does not know that one of the two was chosen for
    its value there.

    Args:
        first: scores of the one, a training for each fold or seed.
        second: of the other; on other samples than the first there is no interval.
        resamples: number of resamples.
        seed: of the resampling.
    """
    if [scores.ids.tolist() for scores in first] != [scores.ids.tolist() for scores in second]:
        resamples = 0
    return _estimated(_draws(first, resamples, seed) - _draws(second, resamples, seed))


def bootstrap(scores: Sequence[PartScores], *, resamples: int = RESAMPLES, seed: int = 0) -> Estimates:
    """Give the mean of each metric over trainings, with its interval over samples drawn anew inside each class."""
    return _estimated(_draws(scores, resamples, seed))


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


def _estimated(draws: pd.DataFrame) -> Estimates:
    """Give the first of the draws, which is of the samples as they are, and the interval of the others."""
    others = draws[1:] if len(draws) > 1 else draws * np.nan
    low, high = np.quantile(others, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    found = zip(draws, draws.iloc[0].tolist(), low.tolist(), high.tolist(), strict=True)
    return {str(name): {"value": value, "low": low, "high": high} for name, value, low, high in found}


def _draws(scores: Sequence[PartScores], resamples: int, seed: int) -> pd.DataFrame:
    """Give the mean of each metric over trainings, of the samples as they are and of each resample, a row each."""
    means = [mean_metrics([one.metrics() for one in scores])]
    for number in range(resamples):
        # Trainings scored on the same samples are resampled alike: they are one part, looked at several times.
        drawn = [one.metrics(_drawn(one.targets, np.random.default_rng((seed, number)))) for one in scores]
        means.append(mean_metrics(drawn))
    return pd.DataFrame(means)


def _drawn(targets: Int[np.ndarray, " n"], rng: np.random.Generator) -> Int[np.ndarray, " n"]:
    """Draw as many samples of each class as there are, with replacement."""
    members = (np.flatnonzero(targets == label) for label in np.unique(targets))
    return np.concatenate([rng.choice(of_class, len(of_class)) for of_class in members])
