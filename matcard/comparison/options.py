"""Options of a comparison. Each default and each text stands here once: validation and help read it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from matcard.errors import InputError
from matcard.options import AtLeastOne, Within, check_options


@dataclass(frozen=True)
class CompareOptions:
    """What of an experiment is run, and how; what is not given is as the experiment says.

    Raises:
        InputError: a number out of range.
    """

    config: str = "synthetic-cpu"
    """Experiment: the name of a file in configs/compare, or a path."""
    tasks: list[str] | None = None
    """Some of its data sets, as a,b."""
    losses: list[str] | None = None
    """Losses and rivals, as a,b: those of the experiment or of configs/compare/losses.yaml."""
    reference: str | None = None
    """Loss that the others are compared with."""
    seeds: AtLeastOne | None = None
    """Seeds of each loss on each data set; a seed changes the split and the first weights together."""
    trials: Annotated[int, Within(whole=True)] | None = None
    """Trials of each loss on each data set for its learning rate and own options; 0 takes them as they are."""
    jobs: AtLeastOne = 1
    """Processes that train at the same time on this machine; they share its cores and GPUs."""
    scheduler: str | None = None
    """Dask scheduler whose workers train in place of `jobs`: tcp://host:8786, or the file that it wrote. All machines
    must see the folder and the data by the same path."""
    folder: str | None = None
    """Where the comparison is kept; runs/compare/<experiment> where not given. One that exists is gone on with."""

    def __post_init__(self) -> None:
        check_options(self)
        if self.scheduler is not None and self.jobs > 1:
            raise InputError("--jobs and --scheduler are both given: cells run here or with the scheduler's workers")
        for name in ("tasks", "losses"):
            value = getattr(self, name)
            if value is not None and (not all(value) or len(set(value)) < len(value)):
                raise InputError(f"--{name} is {','.join(value)!r}: expected different names, as a,b")
