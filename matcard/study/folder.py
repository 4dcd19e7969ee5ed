"""The directory of a study: what lies where."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from matcard.errors import InputError


@dataclass(frozen=True)
class StudyDir:
    """Names of the files in a study's directory."""

    path: Path

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
        """Name of the directory, which a new study has in its storage."""
        return self.path.resolve().name

    @property
    def settings(self) -> Path:
        """Configuration, training of a trial, space, options, and which study of the storage it is."""
        return self.path / "study.yaml"

    @property
    def best(self) -> Path:
        """The best configuration, complete: `matcard.train --config` takes it."""
        return self.path / "best.yaml"

    def best_of_front(self, rank: int) -> Path:
        """Give the file of one of several best configurations, from 1."""
        return self.path / f"best-{rank}.yaml"

    @property
    def table(self) -> Path:
        """Every trial: values, parameters, metrics, how it ended."""
        return self.path / "trials.parquet"

    @property
    def figures(self) -> Path:
        """Folder of the figures, each with its data."""
        return self.path / "figures"

    @property
    def comparison(self) -> Path:
        """The best beside the defaults, on validation."""
        return self.path / "best_vs_defaults.json"

    @property
    def defaults(self) -> Path:
        """Folder of the training with the defaults, where no trial of the space stands for them."""
        return self.path / "defaults"

    @property
    def retrained(self) -> Path:
        """Folder of the runs at full length."""
        return self.path / "retrained"

    @property
    def data(self) -> Path:
        """What the study's samples were when it began: id, class and a digest of each."""
        return self.path / "data.parquet"

    @property
    def running(self) -> Path:
        """Folder of the attempts at what runs, to go on with."""
        return self.path / "running"

    def trial(self, number: int) -> Path:
        """Give the folder of a trial."""
        return self.path / "trials" / f"{number:04d}"
