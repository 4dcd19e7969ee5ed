"""Cells: the single trainings of a comparison, each known by what decides its outcome and kept in its own file."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from matcard.files import to_json
from matcard.models.transfer import weights_file

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from matcard.work.attempt import Record

PROTOCOL = 3
"""Raised whenever the way in which a cell is run changes, so that cells of another way are not taken for it."""
_NO_MATTER = (("name",), ("run_dir",), ("data", "jobs"), ("trainer", "workers"), ("trainer", "diagnostics"))
"""Options that do not change what comes out."""


@dataclass(frozen=True)
class Cell:
    """One training.

    Attributes:
        task: name of the data set.
        method: label of the loss or rival.
        stage: a trial of the search, which sees the validation part alone, or a training that is tested in the end.
        number: of the trial, or the seed.
        config: resolved configuration, nested; sources are as the experiment writes them.
        development: whether options are chosen on a part of the data that is never tested.
    """

    task: str
    method: str
    stage: Literal["trial", "test"]
    number: int
    config: Mapping[str, Any]
    development: bool = False

    @property
    def kind(self) -> Literal["network", "rival"]:
        """What is trained."""
        return "rival" if "rival" in self.config else "network"

    @cached_property
    def key(self) -> str:
        """Sha256 of what decides the outcome; of weights that a network starts from, their content.

        Raises:
            InputError: a directory to start from without weights.
        """
        config = {name: dict(value) if isinstance(value, dict) else value for name, value in self.config.items()}
        for *groups, name in _NO_MATTER:
            section: Any = config
            for group in groups:
                section = section.get(group, {})
            section.pop(name, None)
        if start := config.get("model", {}).get("init_from"):
            weights = weights_file(Path(start))
            config["model"]["init_from"] = _sha256(weights, weights.stat().st_mtime_ns)
        about = {"protocol": PROTOCOL, "stage": self.stage, "development": self.development}
        return digest({**about, "config": config})

    @property
    def label(self) -> str:
        """What the cell is called on screen."""
        seed = f"{self.task}, {self.method}, seed {self.config.get('seed', self.number)}"
        return f"{seed}, trial {self.number}" if self.stage == "trial" else seed


class CellStore:
    """The records of the cells of a comparison, a file each; one process reads and writes them.

    Args:
        folder: where they are.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.records = {path.stem: record for path in folder.glob("*.json") if (record := _read(path))}

    def path(self, cell: Cell) -> Path:
        """Give the file of a cell."""
        return self.folder / f"{cell.key}.json"

    def write(self, cell: Cell, record: Mapping[str, Any]) -> None:
        """Write the record of a cell that has ended, with what the cell was."""
        to_json({"key": cell.key, "protocol": PROTOCOL, **asdict(cell), **record}, self.path(cell))
        # As it is read: what is undefined is null.
        self.records[cell.key] = json.loads(self.path(cell).read_text(encoding="utf-8"))

    def forget(self, keys: Collection[str]) -> None:
        """Take cells for such that have not been run; their files stay until others are written."""
        for key in keys:
            del self.records[key]


def _read(path: Path) -> Record | None:
    """Read a file; None where it is no record of the cell that its name says."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) and record.get("key") == path.stem else None


def digest(value: Any) -> str:
    """Give the sha256 of plain values, whatever the order of their keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


@cache
def _sha256(path: Path, modified: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
