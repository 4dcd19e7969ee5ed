"""The directory of a study, what it begins with, read from files and kept there, and what must not change then."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from sqlalchemy.engine import make_url

from matcard.errors import InputError
from matcard.files import read_yaml
from matcard.study.options import StudyOptions
from matcard.training.config import find_yaml, flatten, nested, overlaid, read_config
from matcard.training.rundir import write_text

if TYPE_CHECKING:
    from collections.abc import Mapping

FULL = "full"
FIXED = ("metric", "folds", "seeds", "pruner")
"""Options that decide what a trial's value means: they stay as the study began."""


class StudyDir:
    """Names of the files in a study's directory.

    Attributes:
        path: of the directory.
        settings: configuration, training of a trial, space, options, and which study of the storage it is.
        data: what the samples were when the study began: id, class and a digest of each.
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
        shown = storage and make_url(storage).render_as_string(hide_password=True)
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
    return {} if name == FULL else read_config(find_yaml("trial_config", name, "tune/trial"))
