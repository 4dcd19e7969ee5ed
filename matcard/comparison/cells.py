"""Cells: the single trainings of a comparison, each known by what decides its outcome and kept in its own file."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from matcard.files import to_json

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from matcard.work.attempt import Record

PROTOCOL = 1
"""Raised whenever the way in which a cell is run changes, so that cells of another way are not taken for it."""
Kind = Literal["network", "rival", "published"]
Stage = Literal["trial", "test"]
_NO_MATTER = (("name",), ("run_dir",), ("data", "jobs"), ("trainer", "workers"), ("trainer", "diagnostics"))
"""Options that do not change what comes out."""


@dataclass(frozen=True)
class Cell:
    """One training.

    Attributes:
        task: name of the data set.
        method: label of the loss or rival.
        kind: what is trained.
        stage: a trial of the search, which sees the validation part alone, or a training that is tested in the end.
        number: of the trial, or the seed.
        config: resolved configuration, nested; sources are as the experiment writes them.
        weights: sha256 of the weights that a network starts from, where it does not start from new ones.
        follows: failed attempts of trials that the choice of this configuration knew of.
    """

    task: str
    method: str
    kind: Kind
    stage: Stage
    number: int
    config: Mapping[str, Any]
    weights: str | None = None
    follows: tuple[str, ...] = ()

    @cached_property
    def key(self) -> str:
        """Sha256 of what decides the outcome."""
        config = _mattering(self.config)
        if self.weights is not None:  # in place of the path
            config["model"] = {**config["model"], "init_from": self.weights}
        return digest({"protocol": PROTOCOL, "kind": self.kind, "stage": self.stage, "config": config})

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
        whole = {**description(cell), **record}
        to_json(whole, self.path(cell))
        # As it is read: what is undefined is null.
        self.records[cell.key] = json.loads(self.path(cell).read_text(encoding="utf-8"))

    def to_be_made_again(self) -> set[str]:
        """Give the keys of all cells that have failed and would be of use if they did not.

        A loss that stopped being finite would do so again; and a trial that comes to an end after others were chosen
        without it would change the choice of these.
        """
        followed = {
            attempt
            for record in self.records.values()
            if record["status"] == "finished"
            for attempt in record.get("follows", ())
        }
        return {
            key
            for key, record in self.records.items()
            if record["status"] == "failed" and not record.get("diverged") and record["attempt"] not in followed
        }

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


def description(cell: Cell) -> dict[str, Any]:
    """Give what the file of a cell says of it beside its outcome."""
    named = {field.name: getattr(cell, field.name) for field in fields(cell)}
    return {"key": cell.key, "protocol": PROTOCOL, **named, "config": dict(cell.config)}


def digest(value: Any) -> str:
    """Give the sha256 of plain values, whatever the order of their keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _mattering(config: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: dict(value) if isinstance(value, dict) else value for name, value in config.items()}
    for *groups, name in _NO_MATTER:
        section: Any = kept
        for group in groups:
            section = section.get(group, {})
        section.pop(name, None)
    return kept
