"""What a study begins with: its options, what is read from files and kept in its directory, and what must not change.

Each default and each text of an option stands here once: validation, help and docs read it.
"""

from __future__ import annotations

import dataclasses
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import yaml

from matcard.errors import InputError
from matcard.files import read_yaml
from matcard.options import AtLeastOne, Positive, Within, check_options
from matcard.training.config import find_yaml, flatten, nested, overlaid, read_config
from matcard.training.rundir import write_text

if TYPE_CHECKING:
    from collections.abc import Mapping

FIXED = ("metric", "folds", "seeds", "pruner")
"""Options that decide what a trial's value means: they stay as the study began."""
LEAST_FOR_WILCOXON = 5
"""With fewer pairs no one-sided signed-rank test falls below .1 before the last."""


@dataclass(frozen=True)
class StudyOptions:
    """Options of the study."""

    space: str = "scale_lambda"
    """What is searched: the name of a file in configs/tune, or a path."""
    trials: AtLeastOne = 30
    """Trials that the study is to have finished in the end, those of earlier calls included."""
    jobs: AtLeastOne = 1
    """Processes that run trials at the same time on this machine; they share its cores and GPUs."""
    scheduler: str | None = None
    """Dask scheduler whose workers run the trials in place of `jobs`: tcp://host:8786, or the file that it wrote. All
    machines must see the study's directory and the data by the same path."""
    study: str | None = None
    """Name of the study, for runs/studies/NAME, or a path. One that exists is continued; where not given, a new one."""
    storage: str | None = None
    """Database where the trials are recorded: postgresql://user:password@host/database, mysql://... or
    sqlite:///path; where not given, the file journal.log in the study's directory."""
    timeout: Positive | None = None
    """Seconds after which no further trial begins."""
    metric: list[str] | None = None
    """Validation metrics to improve, as a,b; of several the Pareto front is sought. Where not given, the one of
    --trainer.monitor, which chooses the best epoch of each trial either way."""
    folds: Annotated[int, Within(2, whole=True)] | None = None
    """Take the mean over so many folds of the training and validation part; the test part is in none."""
    seeds: AtLeastOne = 1
    """Take the mean over so many seeds, of the weights and of the division into training and validation part."""
    sampler: Literal["tpe", "cmaes", "random", "qmc", "grid"] = "tpe"
    """How trials are chosen. tpe: tree-structured Parzen estimator; cmaes: CMA-ES; qmc: scrambled Sobol points; grid:
    every point, `points` of each number's range."""
    pruner: Literal["none", "median", "hyperband", "wilcoxon"] = "none"
    """What ends hopeless trials early. median, hyperband: by the metric after each epoch; wilcoxon: by a signed-rank
    test over folds or seeds."""
    trial_config: str = "short"
    """Training of a trial, laid over the configuration and under the options given here: the name of a file in
    configs/tune/trial, a path, or `full` for the configuration as it is."""
    keep: Literal["light", "full"] = "light"
    """What is kept of a trial. light: options, metrics of each epoch, validation probabilities; full: weights, too."""
    retrain: Annotated[int, Within(whole=True)] = 0
    """Seeds over which the best configuration and the defaults are trained at full length in the end, and the best
    is tested."""

    def __post_init__(self) -> None:
        check_options(self)
        if self.scheduler is not None and self.jobs > 1:
            raise InputError("--jobs and --scheduler are both given: trials run here or with the scheduler's workers")
        if self.folds is not None and self.seeds > 1:
            raise InputError("--folds and --seeds are both given: the mean is over one or the other")
        if self.metric is not None and (not self.metric or len(set(self.metric)) < len(self.metric)):
            raise InputError(f"--metric is {','.join(self.metric) or 'empty'}: expected different metrics, as a,b")
        several = self.metric is not None and len(self.metric) > 1
        if several and self.pruner != "none":
            raise InputError(
                f"--pruner {self.pruner} with several metrics: which of two unfinished trials is worse cannot be said "
                "of a Pareto front; leave it out, or give one --metric"
            )
        if several and self.sampler == "cmaes":
            raise InputError("--sampler cmaes improves one metric: use tpe, or give one --metric")
        if self.pruner == "wilcoxon" and self.repeats < LEAST_FOR_WILCOXON:
            raise InputError(
                f"--pruner wilcoxon compares trials over folds or seeds and cannot tell with fewer than "
                f"{LEAST_FOR_WILCOXON}: give --folds or --seeds {LEAST_FOR_WILCOXON} or more, or --pruner median"
            )

    @property
    def repeats(self) -> int:
        """Trainings of a trial."""
        return self.folds or self.seeds


class StudyDir:
    """Names of the files in a study's directory.

    Attributes:
        path: of the directory.
        settings: configuration, training of a trial, space, options, and which study of the storage it is.
        data: what the samples were when the study began: id, class, a digest, and numbers beside the class.
        table: every trial: values, parameters, metrics, how it ended.
        best: the best configuration, complete: `matcard.train --config` takes it.
        figures: folder of the figures, each with its data.
        comparison: the best beside the defaults, on validation.
        defaults: folder of the training with the defaults, where no trial of the space stands for them.
        retrained: folder of the runs at full length.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.settings = path / "study.yaml"
        self.data = path / "data.parquet"
        self.table = path / "trials.parquet"
        self.best = path / "best.yaml"
        self.figures = path / "figures"
        self.comparison = path / "best_vs_defaults.json"
        self.defaults = path / "defaults"
        self.retrained = path / "retrained"

    @classmethod
    def named(cls, study: str | None, run_name: str) -> StudyDir:
        """Give the directory that `--study` names, or one for a new study.

        Raises:
            InputError: a path without a name.
        """
        if study is None:
            return cls(Path("runs/studies") / f"{run_name}-{time.strftime('%Y%m%d-%H%M%S')}")
        path = Path(study)
        if path.name in ("", ".."):
            raise InputError(f"--study {study!r} names no directory: expected a name, or a path that ends in one")
        return cls(path if path.is_absolute() or len(path.parts) > 1 else Path("runs/studies") / study)

    @property
    def name(self) -> str:
        """Name of the directory, with which that of a new study in its storage begins."""
        return self.path.resolve().name

    def trial(self, number: int) -> Path:
        """Give the folder of a trial."""
        return self.path / "trials" / f"{number:04d}"


@dataclass(frozen=True)
class Settings:
    """What a study began with, and who it is.

    Attributes:
        config: the resolved configuration, nested; `best.yaml` is it with the best values laid over it.
        trial: the same with the training of a trial laid over it.
        space: entries of the space, as in its file.
        options: of the study.
        name: of the study in its storage, which no other study has; it stays where the directory is renamed.
    """

    config: Mapping[str, Any]
    trial: Mapping[str, Any]
    space: Mapping[str, Any]
    options: StudyOptions
    name: str = ""

    def write(self, path: Path) -> None:
        """Write them as YAML, without a password; of the trial only what differs from the configuration."""
        config, trial, storage = flatten(self.config), flatten(self.trial), self.options.storage
        shown = storage and re.sub(r"(://[^:/]*:).*@", r"\1***@", storage)
        values = {
            "name": self.name,
            "options": {**dataclasses.asdict(self.options), "timeout": None, "storage": shown},
            "space": dict(self.space),
            "trial": {name: value for name, value in trial.items() if name not in config or config[name] != value},
            "config": dict(self.config),
        }
        write_text(path, yaml.safe_dump(values, sort_keys=False, allow_unicode=True))

    @classmethod
    def read(cls, path: Path) -> Settings:
        """Read them.

        Raises:
            InputError: not the settings of a study.
        """
        values = read_yaml(path)
        try:
            trial = overlaid(values["config"], nested(values["trial"]))
            options = StudyOptions(**values["options"])
            return cls(values["config"], trial, values["space"], options, values["name"])
        except (KeyError, TypeError) as error:
            raise InputError(f"{path}: not the settings of a study ({error}); give another --study") from error

    def check_same(self, other: Settings, folder: Path) -> None:
        """Refuse to go on with a study by other settings than it began with.

        Raises:
            InputError: what differs, and what to do.
        """
        before, now = self._fixed(), other._fixed()
        differences = [
            f"{name} was {before.get(name, 'not there')}, is {now.get(name, 'not there')}"
            for name in dict.fromkeys([*before, *now])
            if before.get(name) != now.get(name)
        ]
        if differences:
            raise InputError(
                f"--study {folder} began otherwise, and its trials would not compare with new ones: "
                f"{'; '.join(differences)}. Leave these, or the --config with them, out to go on with it; or name "
                "another --study"
            )

    def _fixed(self) -> dict[str, Any]:
        """Give what must not change, as it is called in messages."""
        return {
            **{f"--{name}": value for name, value in flatten(self.config).items()},
            **{f"of a trial, --{name}": value for name, value in flatten(self.trial).items()},
            **{f"space, {name}": value for name, value in self.space.items()},
            **{f"--{name}": getattr(self.options, name) for name in FIXED},
            "--sampler": "grid" if self.options.sampler == "grid" else "none of a grid",
        }


def read_entries(name: str) -> dict[str, Any]:
    """Read the entries of a space by the name of a shipped one or by its path.

    Raises:
        InputError: no such file, or no mapping in it.
    """
    path = find_yaml("space", name, "tune")
    entries = read_yaml(path)
    if not isinstance(entries, dict):
        raise InputError(f"{path}: expected a mapping such as 'loss.scale: {{type: float, low: 0.3, high: 10}}'")
    return entries


def trial_settings(name: str) -> dict[str, Any]:
    """Read the training of a trial: the name of a file in configs/tune/trial, a path, or `full` for none.

    Raises:
        InputError: no such file, or no mapping in it.
    """
    return {} if name == "full" else read_config(find_yaml("trial_config", name, "tune/trial"))
