"""Options of a study. Each default and each text stands here once: validation, help and docs read it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from matcard.errors import InputError

LEAST_FOR_WILCOXON = 5
"""With fewer pairs no one-sided signed-rank test falls below .1 before the last."""


@dataclass(frozen=True)
class StudyOptions:
    """Options of the study."""

    space: str = "scale_lambda"
    """What is searched: the name of a file in configs/tune, or a path."""
    trials: int = 30
    """Trials that the study is to have finished in the end, those of earlier calls included."""
    jobs: int = 1
    """Processes that run trials at the same time on this machine; they share its cores and GPUs."""
    scheduler: str | None = None
    """Dask scheduler whose workers run the trials in place of `jobs`: tcp://host:8786, or the file that it wrote. All
    machines must see the study's directory and the data by the same path."""
    study: str | None = None
    """Name of the study, for runs/studies/NAME, or a path. One that exists is continued; where not given, a new one."""
    storage: str | None = None
    """Database where the trials are recorded: postgresql://user:password@host/database, mysql://... or
    sqlite:///path; where not given, the file journal.log in the study's directory."""
    timeout: float | None = None
    """Seconds after which no further trial begins."""
    metric: list[str] | None = None
    """Validation metrics to improve, as a,b; of several the Pareto front is sought. Where not given, the one of
    --trainer.monitor, which chooses the best epoch of each trial either way."""
    folds: int | None = None
    """Take the mean over so many folds of the training and validation part; the test part is in none."""
    seeds: int = 1
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
    retrain: int = 0
    """Seeds over which the best configuration and the defaults are trained at full length in the end, and the best
    is tested."""

    def __post_init__(self) -> None:
        for name, least in (("trials", 1), ("jobs", 1), ("seeds", 1), ("retrain", 0)):
            if getattr(self, name) < least:
                raise InputError(f"--{name} is {getattr(self, name)}: expected {least} or more")
        if self.scheduler is not None and self.jobs > 1:
            raise InputError("--jobs and --scheduler are both given: trials run here or with the scheduler's workers")
        if self.timeout is not None and self.timeout <= 0:
            raise InputError(f"--timeout is {self.timeout}: expected a number of seconds above 0")
        if self.folds is not None and self.folds < 2:
            raise InputError(f"--folds is {self.folds}: expected 2 or more")
        if self.folds is not None and self.seeds > 1:
            raise InputError("--folds and --seeds are both given: the mean is over one or the other")
        if self.metric is not None and (not self.metric or len(set(self.metric)) < len(self.metric)):
            raise InputError(f"--metric is {','.join(self.metric) or 'empty'}: expected different metrics, as a,b")
        if self.several_metrics and self.pruner != "none":
            raise InputError(
                f"--pruner {self.pruner} with several metrics: which of two unfinished trials is worse cannot be said "
                "of a Pareto front; leave it out, or give one --metric"
            )
        if self.several_metrics and self.sampler == "cmaes":
            raise InputError("--sampler cmaes improves one metric: use tpe, or give one --metric")
        if self.pruner == "wilcoxon" and self.repeats < LEAST_FOR_WILCOXON:
            raise InputError(
                f"--pruner wilcoxon compares trials over folds or seeds and cannot tell with fewer than "
                f"{LEAST_FOR_WILCOXON}: give --folds or --seeds {LEAST_FOR_WILCOXON} or more, or --pruner median"
            )

    @property
    def several_metrics(self) -> bool:
        """Whether a Pareto front is sought."""
        return self.metric is not None and len(self.metric) > 1

    @property
    def repeats(self) -> int:
        """Trainings of a trial."""
        return self.folds or self.seeds
