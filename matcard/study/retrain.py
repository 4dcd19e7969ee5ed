"""The best configuration at full length over several seeds, beside the defaults: the only place where a study tests."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.console import Console

from matcard.errors import MatcardWarning, TrainingError
from matcard.files import to_json
from matcard.study.results.retrained import SIDES, Retrained, show_retrained
from matcard.study.trial.data import TrialData
from matcard.study.trial.evaluation import SCORES, PartScores
from matcard.training.config import config_from_dict, read_config
from matcard.training.fit import fit
from matcard.training.results import write_results
from matcard.training.rundir import RunDir, with_resolved_paths, write_left_out, write_text
from matcard.work.attempt import read_record, settle
from matcard.work.jobs import Jobs
from matcard.work.trainings import EndsWhenStopped, told

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from matcard.study.folder import StudyDir
    from matcard.study.settings import Settings
    from matcard.training.options import Config
    from matcard.work.attempt import Record, Wire
    from matcard.work.conduct import Agenda

TEST = "test.npz"
SUMMARY = "summary.json"


@dataclass(frozen=True)
class Retraining:
    """Trains a configuration with one seed at full length, and tests it if so; picklable.

    All seeds have the study's test part; each divides the rest anew.

    Attributes:
        config: with its seed.
        data: divides the data.
        index: of the seed, from 0.
        tested: whether the test part is looked at.
    """

    config: Config
    data: TrialData
    index: int
    tested: bool

    def __call__(self, folder: Path, line: Wire) -> Record:
        """Train, or go on with what lies in the folder; write the scores of the validation and of the test part."""
        samples, data = self.data.samples(self.config), self.data.batches(self.config, self.index)
        run = RunDir(folder)
        if not run.config.is_file():
            run.create(self.config)
        write_left_out(samples, run.left_out)
        write_text(run.fingerprint, data.set.fingerprint + "\n")
        write_text(run.split, data.set.split.to_json(data.set.ids))
        console = Console(quiet=True)
        with told(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # said once, of a trial's training, or meant for programmers
            module = fit(run, self.config, data, console, [EndsWhenStopped(line)])
            if module is None:
                raise TrainingError("a run of a study trains on one device")
            PartScores.of(module, data, "val").save(folder / SCORES)
            if self.tested:
                write_results(run, module, data, console)
                PartScores.of(module, data, "test").save(folder / TEST)
        return {}


@dataclass(frozen=True)
class Runs:
    """The runs of both configurations.

    Attributes:
        configs: side -> configuration, resolved and nested.
        folder: of the runs.
        seeds: number of seeds.
    """

    configs: Mapping[str, Mapping[str, Any]]
    folder: Path
    seeds: int

    def run(self, side: str, index: int) -> Path:
        """Give the folder of a run."""
        return self.folder / f"{side}-{self.configs[side]['seed'] + index}"

    def is_trained(self, side: str, index: int) -> bool:
        """Tell whether a run has ended well."""
        return read_record(self.run(side, index)) is not None

    def jobs(self, data: TrialData) -> dict[str, Retraining]:
        """Give what is left to do, by digest, side and seed; only the best configuration is tested."""
        jobs = {}
        for index in range(self.seeds):
            for side, values in self.configs.items():
                if not self.is_trained(side, index):
                    config = config_from_dict(values)
                    config = dataclasses.replace(config, seed=config.seed + index)
                    jobs[f"{self.folder.name}-{side}-{config.seed}"] = Retraining(config, data, index, side == "best")
        return jobs


def retrain(
    folder: StudyDir, settings: Settings, metrics: Sequence[str], do: Callable[[Agenda], None], console: Console
) -> None:
    """Train the best configuration and the defaults over seeds, test the best, and print both.

    Runs that are finished are kept; more seeds are added to them.

    Raises:
        TrainingError: no seed of one of the two could be trained.
        KeyboardInterrupt: a signal came; the message says what is kept.
    """
    options = settings.options
    configs = {"best": read_config(folder.best), "defaults": with_resolved_paths(settings.config)}
    if configs["best"] == configs["defaults"]:
        del configs["defaults"]
        console.print("the best are the defaults: they are trained once")
    # Another best, found by more trials, is trained in a folder of its own.
    digest = hashlib.sha256(json.dumps(configs, sort_keys=True, default=str).encode()).hexdigest()[:8]
    runs = Runs(configs, folder.retrained / digest, options.retrain)
    if tested := [path for path in folder.retrained.glob(f"*/{SUMMARY}") if path.parent != runs.folder]:
        warnings.warn(
            f"{folder.retrained}: another best of this study was tested before ({len(tested)} in all). What is chosen "
            "by looking at several test figures looks better than it is: choose by validation",
            MatcardWarning,
            stacklevel=2,
        )
    console.print(
        f"train {' and '.join(configs)} over {options.retrain} seeds at full length, in {runs.folder}", soft_wrap=True
    )

    def ended(name: str, record: Record, written: Path | None) -> None:
        _, side, seed = name.split("-")
        if record["status"] == "finished" and written is not None:
            settle(written, runs.folder / f"{side}-{seed}")
        console.print(f"{side}, seed {seed}: {record.get('reason', 'trained')}", markup=False)

    try:
        do(Jobs(runs.jobs(TrialData(settings.config["seed"])), ended))
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"runs that are trained are kept; go on with --study {folder.path}") from None
    retrained = read_retrained(runs, console)
    show_retrained(retrained, metrics, console)
    to_json(retrained.to_dict(), runs.folder / SUMMARY)


def read_retrained(runs: Runs, console: Console) -> Retrained:
    """Read the scores of the seeds that were trained with both configurations.

    Raises:
        TrainingError: there is none.
    """
    found = [index for index in range(runs.seeds) if all(runs.is_trained(side, index) for side in runs.configs)]
    if not found:
        raise TrainingError(f"no seed could be trained with both configurations, see {runs.folder}")
    if len(found) < runs.seeds:
        console.print(
            f"{runs.seeds - len(found)} of {runs.seeds} seeds are left out: not trained with both configurations; the "
            "same command tries them again",
            soft_wrap=True,
        )
    sides = {side: side if side in runs.configs else "best" for side in SIDES}
    return Retrained(
        [runs.configs["best"]["seed"] + index for index in found],
        {side: config_from_dict(runs.configs[run]) for side, run in sides.items()},
        {side: [PartScores.load(runs.run(run, index) / SCORES) for index in found] for side, run in sides.items()},
        [PartScores.load(runs.run("best", index) / TEST) for index in found],
    )
