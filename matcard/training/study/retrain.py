"""The best configuration at full length over several seeds, beside the defaults: the only place where a study tests."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
from rich.console import Console
from rich.table import Table

from matcard.errors import TrainingError
from matcard.evaluation.jsonfile import to_json
from matcard.evaluation.metrics import higher_is_better, metric_label
from matcard.evaluation.tables import format_score
from matcard.training.config import config_from_dict, read_config
from matcard.training.fit import fit
from matcard.training.results import write_results
from matcard.training.rundir import RunDir, write_text
from matcard.training.study.results.comparison import comparison_table, differing_options, shown_metrics
from matcard.training.study.results.gain import bootstrap, over_seeds
from matcard.training.study.search.samplers import MakeSampler
from matcard.training.study.search.space import Space
from matcard.training.study.storage.opening import open_storage
from matcard.training.study.trial.data import TrialData
from matcard.training.study.trial.evaluation import SCORES, PartScores, mean_metrics
from matcard.training.study.workers.liveness import Heartbeat
from matcard.training.study.workers.run import run_trials

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from optuna import Trial

    from matcard.training.options import Config
    from matcard.training.study.folder import StudyDir
    from matcard.training.study.results.gain import Estimate
    from matcard.training.study.settings import Settings

TEST = "test.npz"
SIDES = ("defaults", "best")


@dataclass(frozen=True)
class Retraining:
    """Trains one of the two configurations with one seed at full length; picklable.

    All seeds have the study's test part; each divides the rest anew. Only the best configuration is tested.

    Attributes:
        configs: side -> configuration, resolved and nested.
        data: divides the data.
        folder: what the runs are written to.
        seeds: number of seeds.
    """

    configs: Mapping[str, Mapping[str, Any]]
    data: TrialData
    folder: Path
    seeds: int

    def __call__(self, trial: Trial) -> float:
        """Train what the trial names; 0 where the loss stopped being finite, else 1."""
        side = trial.suggest_categorical("side", SIDES)
        index = trial.suggest_int("seed", 0, self.seeds - 1)
        config = config_from_dict(self.configs[side])
        config = dataclasses.replace(config, seed=config.seed + index)
        try:
            self.train(config, index, self.folder / f"{side}-{config.seed}", tested=side == "best")
        except TrainingError as error:
            trial.set_user_attr("stopped", str(error))
            return 0.0
        return 1.0

    def train(self, config: Config, index: int, folder: Path, *, tested: bool) -> None:
        """Train, or go on with a killed run; write the scores of the validation part and, if so, of the test part."""
        labelled, data = self.data.labelled(config), self.data.batches(config, index)
        run = RunDir(folder) if (folder / "config.yaml").is_file() else _created(config, folder)
        labelled.write_left_out(run.left_out)
        write_text(run.fingerprint, data.labelled.fingerprint + "\n")
        write_text(run.split, data.labelled.split.to_json(data.labelled.ids))
        console = Console(quiet=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # said once, of a trial's training, or meant for programmers
            module = fit(run, config, data, console)
            if module is None:
                raise TrainingError("a run of a study trains on one device")
            PartScores.of(module, data, "val").save(folder / SCORES)
            if tested:
                write_results(run, module, data, console)
                PartScores.of(module, data, "test").save(folder / TEST)


def retrain(folder: StudyDir, settings: Settings, metrics: Sequence[str], console: Console) -> None:
    """Train the best configuration and the defaults over seeds, test the best, and print both.

    Runs that are finished are kept; more seeds are added to them.

    Raises:
        TrainingError: no seed of one of the two could be trained.
    """
    options = settings.options
    configs = {"best": read_config(folder.best), "defaults": dict(settings.config)}
    if configs["best"] == configs["defaults"]:
        del configs["defaults"]
        console.print("the best are the defaults: they are trained once")
    # Another best, found by more trials, is trained in a folder of its own.
    digest = hashlib.sha256(json.dumps(configs, sort_keys=True, default=str).encode()).hexdigest()[:8]
    runs = folder.retrained / digest
    job = Retraining(configs, TrialData(settings.config["seed"]), runs, options.retrain)
    console.print(
        f"train {' and '.join(configs)} over {options.retrain} seeds at full length, in {runs}", soft_wrap=True
    )
    study = optuna.create_study(
        study_name=f"{folder.name}-retrained-{digest}",
        storage=open_storage(options.storage, folder.path),
        load_if_exists=True,
    )
    for index in range(options.retrain):
        for side in configs:
            study.enqueue_trial({"side": side, "seed": index}, skip_if_exists=True)

    def tell(trial: optuna.trial.FrozenTrial) -> None:
        stopped = trial.user_attrs.get("stopped")
        console.print(
            f"{trial.params.get('side')}, seed {trial.params.get('seed')}: {stopped or 'trained'}", markup=False
        )

    summary = run_trials(
        study.study_name,
        job,
        MakeSampler("random", Space(()), settings.config["seed"], options.jobs),
        url=options.storage,
        folder=folder.path,
        total=len(configs) * options.retrain,
        jobs=options.jobs,
        heartbeat=Heartbeat.within(options.grace),
        on_trial=tell,
        go_on=f"--study {options.study or folder.path}",
    )
    if summary.stopped == "failing":
        raise TrainingError(summary.message)
    show_retrained(job, metrics, console)


def show_retrained(job: Retraining, metrics: Sequence[str], console: Console) -> None:
    """Print and write what the runs are worth: both on validation, the best on test.

    Raises:
        TrainingError: no seed of one of the two could be trained.
    """
    seed = job.configs["best"]["seed"]
    sides = {side: side if side in job.configs else "best" for side in SIDES}
    names = {side: [f"{run}-{seed + index}" for index in range(job.seeds)] for side, run in sides.items()}
    found = [
        index
        for index in range(job.seeds)
        if all((job.folder / names[side][index] / SCORES).is_file() for side in SIDES)
    ]
    if not found:
        raise TrainingError(f"no seed could be trained with both configurations, see {job.folder}")
    validation = {side: [PartScores.load(job.folder / names[side][i] / SCORES) for i in found] for side in SIDES}
    values = {side: [scores.metrics() for scores in validation[side]] for side in SIDES}
    shares = [len(scores.targets) / scores.train_counts.sum() for scores in validation["best"]]
    differences = {
        name: np.array([b[name] - a[name] for a, b in zip(values["defaults"], values["best"], strict=True)])
        for name in values["best"][0]
    }
    gains = {name: over_seeds(difference, float(np.mean(shares))) for name, difference in differences.items()}
    means = {side: mean_metrics(values[side]) for side in SIDES}
    defaults, best = (config_from_dict(job.configs[run]) for run in sides.values())
    console.print(
        comparison_table(
            f"At full length, on validation: mean over {len(found)} seeds",
            differing_options(defaults, best),
            means["defaults"],
            means["best"],
            gains,
            metrics,
        )
    )
    console.print("intervals: corrected resampled t-test over seeds")
    for name in metrics:
        console.print(verdict(name, gains[name]), soft_wrap=True)
    test = [PartScores.load(job.folder / names["best"][i] / TEST) for i in found]
    tested = bootstrap(test)
    by_seed = [scores.metrics() for scores in test]
    table = Table(
        title=f"The best, on test: mean over {len(found)} seeds", box=None, pad_edge=False, title_justify="left"
    )
    table.add_column("")
    for header in ("mean", "95 % interval", "lowest and highest seed"):
        table.add_column(header, justify="right", no_wrap=True)
    for name in shown_metrics(metrics):
        value, low, high = tested[name]
        seeds = [one[name] for one in by_seed]
        interval, span = (f"{format_score(a)} to {format_score(b)}" for a, b in ((low, high), (min(seeds), max(seeds))))
        table.add_row(
            metric_label(name), format_score(value), interval, span, style="bold" if name in metrics else None
        )
    console.print(table)
    console.print(f"intervals: bootstrap over the {len(test[0].targets)} test samples, the same for all seeds")
    to_json(
        {
            "seeds": [seed + index for index in found],
            "validation": {
                name: {**{side: means[side][name] for side in SIDES}, "gain": gains[name]._asdict()} for name in gains
            },
            "test": {
                name: {**estimate._asdict(), "seeds": [one[name] for one in by_seed]}
                for name, estimate in tested.items()
            },
        },
        job.folder / "summary.json",
    )


def verdict(metric: str, gain: Estimate) -> str:
    """Say which of the two configurations the validation parts of several seeds speak for."""
    label, ahead = metric_label(metric), gain.value if higher_is_better(metric) else -gain.value
    if ahead < 0:
        return (
            f"validation {label}: the defaults are ahead over these seeds, so the best trial was a lucky one: keep the "
            "defaults, or search with --seeds 3, which takes out luck"
        )
    if ahead == 0 or not gain.low * gain.high > 0:
        return (
            f"validation {label}: the best is not behind the defaults; a difference is not shown (the interval has 0)"
        )
    return f"validation {label}: the best is ahead of the defaults by more than the seeds' scatter"


def _created(config: Config, folder: Path) -> RunDir:
    return RunDir.create(dataclasses.replace(config, run_dir=str(folder)))
