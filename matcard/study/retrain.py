"""The best configuration at full length over several seeds, beside the defaults: the only place where a study tests."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import optuna
from optuna.trial import TrialState
from rich.console import Console

from matcard.errors import InputError, MatcardWarning, TrainingError
from matcard.files import to_json
from matcard.study.results.retrained import SIDES, Retrained, show_retrained
from matcard.study.search.samplers import MakeSampler
from matcard.study.search.space import Space
from matcard.study.storage.opening import open_storage
from matcard.study.trial.data import TrialData
from matcard.study.trial.evaluation import SCORES, PartScores
from matcard.study.trial.failures import told
from matcard.study.workers.queue import failure_reason
from matcard.study.workers.run import run_trials
from matcard.training.config import config_from_dict, read_config
from matcard.training.fit import fit
from matcard.training.results import write_results
from matcard.training.rundir import RunDir, with_resolved_paths, write_text
from matcard.work.life import Heartbeat

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from optuna import Trial

    from matcard.study.folder import StudyDir
    from matcard.study.settings import Settings
    from matcard.training.options import Config

TEST = "test.npz"
SUMMARY = "summary.json"
RUN = "run"
"""User attribute of a trial: side and index of the seed that it trains."""
STOPPED = "stopped"
"""User attribute of a trial: why its run could not be trained."""


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
        """Train what the trial is assigned; 0 where nothing could be trained, else 1."""
        if RUN not in trial.user_attrs:
            return 0.0  # in the place of a run whose worker died twice
        side, index = trial.user_attrs[RUN]
        config = config_from_dict(self.configs[side])
        config = dataclasses.replace(config, seed=config.seed + index)
        try:
            self.train(config, index, self.run(side, index), tested=side == "best")
        except Exception as error:
            # Not to be followed by another trial: each run is assigned once a call.
            known = isinstance(error, TrainingError | InputError)
            trial.set_user_attr(STOPPED, str(error) if known else f"{type(error).__name__}: {error}")
            return 0.0
        return 1.0

    def run(self, side: str, index: int) -> Path:
        """Give the folder of a run."""
        return self.folder / f"{side}-{self.configs[side]['seed'] + index}"

    def is_trained(self, side: str, index: int) -> bool:
        """Tell whether a run has left all that it should."""
        needed = (SCORES, TEST) if side == "best" else (SCORES,)
        return all((self.run(side, index) / name).is_file() for name in needed)

    def train(self, config: Config, index: int, folder: Path, *, tested: bool) -> None:
        """Train, or go on with a killed run; write the scores of the validation part and, if so, of the test part."""
        labelled, data = self.data.labelled(config), self.data.batches(config, index)
        run = RunDir(folder) if (folder / "config.yaml").is_file() else _created(config, folder)
        labelled.write_left_out(run.left_out)
        write_text(run.fingerprint, data.labelled.fingerprint + "\n")
        write_text(run.split, data.labelled.split.to_json(data.labelled.ids))
        console = Console(quiet=True)
        with told(), warnings.catch_warnings():
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
    job = Retraining(configs, TrialData(settings.config["seed"]), runs, options.retrain)
    console.print(
        f"train {' and '.join(configs)} over {options.retrain} seeds at full length, in {runs}", soft_wrap=True
    )
    with folder.lock:
        study = optuna.create_study(
            study_name=f"{folder.name}-retrained-{digest}",
            storage=open_storage(options.storage, folder.path),
            load_if_exists=True,
        )
        total = put_in_line(study, job)

    def tell(trial: optuna.trial.FrozenTrial) -> None:
        if assigned := trial.user_attrs.get(RUN):
            side, index = assigned
            ended = trial.user_attrs.get(STOPPED) or (
                failure_reason(trial) if trial.state == TrialState.FAIL else "trained"
            )
            console.print(f"{side}, seed {configs[side]['seed'] + index}: {ended}", markup=False)

    if total:
        summary = run_trials(
            study.study_name,
            job,
            MakeSampler("random", Space(()), settings.config["seed"], options.jobs),
            url=options.storage,
            folder=folder.path,
            total=total,
            jobs=options.jobs,
            heartbeat=Heartbeat.within(options.grace),
            on_trial=tell,
            go_on=f"--study {options.study or folder.path}",
        )
        if summary.stopped == "failing":
            raise TrainingError(summary.message)
    retrained = read_retrained(job, console)
    show_retrained(retrained, metrics, console)
    to_json(retrained.to_dict(), job.folder / SUMMARY)


def put_in_line(study: optuna.Study, job: Retraining) -> int:
    """Assign each run that is neither trained nor in line already to a trial; give how many trials are to finish."""
    trials = [trial for trial in study.get_trials(deepcopy=False) if trial.state != TrialState.FAIL]
    in_line = [tuple(t.user_attrs[RUN]) for t in trials if not t.state.is_finished() and RUN in t.user_attrs]
    missing = [
        (side, index)
        for index in range(job.seeds)
        for side in job.configs
        if not job.is_trained(side, index) and (side, index) not in in_line
    ]
    for run in missing:
        study.enqueue_trial({}, user_attrs={RUN: run})
    return len(trials) + len(missing)


def read_retrained(job: Retraining, console: Console) -> Retrained:
    """Read the scores of the seeds that were trained with both configurations.

    Raises:
        TrainingError: there is none.
    """
    found = [index for index in range(job.seeds) if all(job.is_trained(side, index) for side in job.configs)]
    if not found:
        raise TrainingError(f"no seed could be trained with both configurations, see {job.folder}")
    if len(found) < job.seeds:
        console.print(
            f"{job.seeds - len(found)} of {job.seeds} seeds are left out: not trained with both configurations, or on "
            "a machine with another directory; the same command tries them again",
            soft_wrap=True,
        )
    runs = {side: side if side in job.configs else "best" for side in SIDES}
    return Retrained(
        [job.configs["best"]["seed"] + index for index in found],
        {side: config_from_dict(job.configs[run]) for side, run in runs.items()},
        {side: [PartScores.load(job.run(run, index) / SCORES) for index in found] for side, run in runs.items()},
        [PartScores.load(job.run("best", index) / TEST) for index in found],
    )


def _created(config: Config, folder: Path) -> RunDir:
    shutil.rmtree(folder, ignore_errors=True)  # of a worker that died before it had begun
    return RunDir(folder).create(config)
