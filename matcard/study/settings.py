"""What a study begins with, read from files and kept in its directory, and what must not change once it has begun."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from matcard.errors import InputError
from matcard.files import read_yaml, written_whole
from matcard.study.options import StudyOptions
from matcard.study.url import hidden
from matcard.training.config import find_yaml, flatten, nested, overlaid, read_config

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FULL = "full"
FIXED = ("metric", "folds", "seeds", "pruner")
"""Options that decide what a trial's value means: they stay as the study began."""


@dataclass(frozen=True)
class Settings:
    """What a study began with, and who it is.

    Attributes:
        config: the resolved configuration, nested; `best.yaml` is it with the best values laid over it.
        trial: the same with the training of a trial laid over it.
        space: entries of the space, as in its file.
        options: of the study.
        name: of the study in its storage; that of the directory in which it began.
        token: tells it from all others; it stands in the storage, too.
    """

    config: Mapping[str, Any]
    trial: Mapping[str, Any]
    space: Mapping[str, Any]
    options: StudyOptions
    name: str = ""
    token: str = ""

    def write(self, path: Path) -> None:
        """Write them as YAML, without a password; of the trial only what differs from the configuration."""
        config, trial = flatten(self.config), flatten(self.trial)
        storage = self.options.storage
        options = dataclasses.replace(self.options, timeout=None, storage=storage and hidden(storage))
        values = {
            "study": {"name": self.name, "token": self.token},
            "options": dataclasses.asdict(options),
            "space": dict(self.space),
            "trial": {name: value for name, value in trial.items() if name not in config or config[name] != value},
            "config": dict(self.config),
        }
        with written_whole(path) as beside:
            beside.write_text(yaml.safe_dump(values, sort_keys=False, allow_unicode=True), encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Settings:
        """Read them.

        Raises:
            InputError: not the settings of a study.
        """
        values = read_yaml(path)
        try:
            options = StudyOptions(**values["options"])
            trial = overlaid(values["config"], nested(values["trial"]))
            return cls(values["config"], trial, values["space"], options, **values["study"])
        except (KeyError, TypeError) as error:
            raise InputError(f"{path}: not the settings of a study ({error}); give another --study") from error

    def check_same(self, other: Settings, folder: Path) -> None:
        """Refuse to go on with a study by other settings than it began with.

        Raises:
            InputError: what differs, and what to do.
        """
        differences = [
            *_differences("--", flatten(self.config), flatten(other.config)),
            *_differences("of a trial, --", flatten(self.trial), flatten(other.trial)),
            *_differences("space, ", dict(self.space), dict(other.space)),
            *(
                f"--{name} was {getattr(self.options, name)}, is {getattr(other.options, name)}"
                for name in FIXED
                if getattr(self.options, name) != getattr(other.options, name)
            ),
        ]
        if differences:
            raise InputError(
                f"--study {folder} began otherwise, and its trials would not compare with new ones: "
                f"{'; '.join(differences)}. Leave these, or the --config with them, out to go on with it; or name "
                "another --study"
            )


def _differences(what: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    return [
        f"{what}{name} was {before.get(name, 'not there')}, is {now.get(name, 'not there')}"
        for name in sorted({*before, *now})
        if before.get(name) != now.get(name)
    ]


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
