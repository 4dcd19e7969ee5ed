"""Whether a file is the one that is meant: size and checksums, published or measured when it was first seen."""

from __future__ import annotations

import json
import warnings
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from matcard.errors import InputError, MatcardWarning
from matcard.files import written_whole

if TYPE_CHECKING:
    from pathlib import Path

    from matcard.data.cards.card import Download


def expected_checksums(path: Path, download: Download) -> dict[str, str]:
    """Give the checksums by algorithm: published ones, else the sha256 that was noted when `path` was first seen.

    Raises:
        InputError: a note that is damaged.
    """
    noted = noted_sha256(path)
    return download.checksums if noted is None else {"sha256": noted, **download.checksums}


def what_is_wrong(path: Path, checksums: dict[str, str], size: int | None) -> str | None:
    """Say how a file differs from what it should be, or None."""
    import pooch

    found = path.stat().st_size
    if found == 0:
        return "it is empty"
    if size is not None and found != size:
        return f"it has {found} bytes, {size} were expected"
    for algorithm, checksum in checksums.items():
        measured = pooch.file_hash(path, alg=algorithm)
        if measured != checksum:
            return f"its {algorithm} is {measured}, {checksum} was expected"
    return None


def note_checksum(path: Path, download: Download) -> None:
    """Where the source publishes no sha256, keep that of the file beside it; it is checked from then on.

    A file with no published checksum at all is trusted on this first sight, which a `MatcardWarning` says.
    """
    if download.sha256 is not None or note_of(path).exists():
        return
    measured = write_note(path, download.url)
    if not download.checksums:
        warnings.warn(
            f"{path.name}: its source publishes no checksum, so the file is trusted as it came; its sha256 {measured} "
            f"is noted in {note_of(path)} and checked whenever the file is used",
            MatcardWarning,
            stacklevel=2,
        )


def write_note(path: Path, origin: str) -> str:
    """Note the sha256 of a file and whence it came beside it, and give the sha256."""
    import pooch

    measured = str(pooch.file_hash(path))
    note = {"sha256": measured, "size": path.stat().st_size, "url": origin, "seen": datetime.now(UTC)}
    try:
        with written_whole(note_of(path)) as beside:
            beside.write_text(json.dumps(note, default=str, indent=1), encoding="utf-8")
    except OSError as error:
        warnings.warn(f"{note_of(path)} cannot be written ({error.strerror})", MatcardWarning, stacklevel=2)
    return measured


def note_of(path: Path) -> Path:
    """Give where the checksum of a file is noted."""
    return path.with_name(f"{path.name}.noted.json")


def noted_sha256(path: Path) -> str | None:
    """Give the sha256 that was noted beside a file, or None.

    Raises:
        InputError: a note that is damaged.
    """
    note = note_of(path)
    if not note.exists():
        return None
    try:
        return str(json.loads(note.read_text(encoding="utf-8"))["sha256"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{note} is damaged; delete it if you trust {path.name} as it is") from error
