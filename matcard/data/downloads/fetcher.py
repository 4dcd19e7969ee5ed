"""Every file of a card, checked at every use: from the cache, or else from its mirrors by pooch, once."""

from __future__ import annotations

import os
import warnings
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from matcard.data.downloads.checks import expected_checksums, note_checksum, note_of, what_is_wrong
from matcard.data.downloads.places import MIRROR, folder_of, sources_of
from matcard.data.downloads.transfer import Refused, Transfer, explain
from matcard.errors import InputError, MatcardWarning
from matcard.files import locked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from rich.console import Console

    from matcard.data.cards.card import Card, Download

TIMEOUT = 30.0
"""Seconds without a byte after which a server is given up."""

RETRIES = 3
"""How often a transfer that failed in a way that may pass is tried again, after 1, 2, 3 seconds."""


def fetch(
    card: Card, *, console: Console | None = None, timeout: float = TIMEOUT, retries: int = RETRIES
) -> dict[str, Path]:
    """Give every file of a card by its name, downloaded if need be; none for what code makes.

    A file in the cache is checked against its checksum every time; one that was put there by hand is taken like any
    other. What a database is asked for is asked once and frozen.

    Args:
        card: the data set.
        console: where progress is shown; the standard error stream where not given.
        timeout: seconds without a byte after which a server is given up.
        retries: how often a transfer that was cut off, timed out or met a fault of the server is tried again.

    Raises:
        InputError: a file that cannot be had; the message says what came from where, and how to place it by hand.
    """
    if card.query is not None:
        from matcard.data.cards.materials_project import freeze

        return freeze(card)
    get = _Fetcher(card, console or _console(), timeout, retries)
    return {download.file_name: get(download) for download in card.urls}


class _Fetcher:
    """Fetches the files of one card."""

    def __init__(self, card: Card, console: Console, timeout: float, retries: int) -> None:
        self.card, self.console, self.timeout, self.retries = card, console, timeout, retries
        self.folder = folder_of(card)

    def __call__(self, download: Download) -> Path:
        path = self.folder / download.file_name
        if not self._sound(path, download):
            with self._writable(path, download), locked(path, f"fetches {path.name}"):
                if not self._sound(path, download):  # another process may have fetched it meanwhile
                    self._fetch(path, download)
        note_checksum(path, download)
        return path

    def _sound(self, path: Path, download: Download) -> bool:
        return path.exists() and what_is_wrong(path, expected_checksums(path, download), download.size) is None

    def _fetch(self, path: Path, download: Download) -> None:
        """Try one source after the other."""
        import requests

        checksums = expected_checksums(path, download)
        if path.exists():
            wrong = what_is_wrong(path, checksums, download.size)
            warnings.warn(f"{path} is not the file: {wrong}; it is fetched again", MatcardWarning, stacklevel=4)
        failures = []
        for source in sources_of(self.card, download):
            try:
                self._transfer(source, path, download, checksums)
            except (Refused, ValueError, requests.RequestException) as error:
                failures.append(f"{source}: {explain(error, self.timeout)}")
            except OSError as error:
                if error.filename != source:  # it is not the mirror that cannot be read
                    raise
                failures.append(f"{source}: {error.strerror}")
            else:
                return
        raise InputError(_message(path, download, failures))

    def _transfer(self, source: str, path: Path, download: Download, checksums: dict[str, str]) -> None:
        import pooch

        pooch.get_logger().setLevel("WARNING")
        known = next((f"{algorithm}:{checksum}" for algorithm, checksum in checksums.items()), None)
        keeper = pooch.Pooch(
            self.folder,
            base_url="",
            registry={path.name: known},
            urls={path.name: source},
            retry_if_failed=self.retries,
        )
        with _bar(self.console, path.name, source) as report:
            transfer = Transfer(_partial(path), checksums, download.size, self.timeout, report)
            if path.exists() and known is None:  # pooch would take it as it is
                path.unlink()
            keeper.fetch(path.name, downloader=transfer)

    @contextmanager
    def _writable(self, path: Path, download: Download) -> Iterator[None]:
        """Turn a full disk or a folder that cannot be written into a message; leave nothing half-written."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            yield
        except OSError as error:
            with suppress(OSError):
                _partial(path).unlink(missing_ok=True)
            advice = "make room, or name another folder in MATCARD_CACHE"
            why = f"{self.folder} cannot be written ({error.strerror or error}); {advice}"
            raise InputError(_message(path, download, [f"{download.url}: {why}"])) from error


def _partial(path: Path) -> Path:
    return path.with_name(f".{path.name}.part")


def _message(path: Path, download: Download, failures: list[str]) -> str:
    published = [f"{algorithm} {checksum}" for algorithm, checksum in download.checksums.items()]
    size = [] if download.size is None else [f"{download.size} bytes"]
    known = ", ".join([*size, *published]) or "no size or checksum is published"
    tried = "\n".join(f"  {failure}" for failure in failures)
    note = note_of(path)
    if note.exists() and not download.checksums:
        tried += f"\nIts sha256 was noted when it was first seen. If a newer version is what you want, delete {note}."
    return (
        f"{path.name} cannot be fetched:\n{tried}\nTo place it by hand, get {download.url} elsewhere and put it at\n"
        f"  {path}\n({known}), or name a folder or url that has it in {MIRROR}; then run the command again"
    )


@contextmanager
def _bar(console: Console, name: str, source: str) -> Iterator[Callable[[int, int | None], None]]:
    """Show the progress of a transfer: bytes, speed, time left; in a file or pipe a line in place of it."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    if not console.is_terminal:
        console.print(f"fetching {name} from {source}", markup=False, soft_wrap=True)
        yield lambda done, total: None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(name, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def _console() -> Console:
    """Give the standard error stream; of several processes of a run only the first shows something."""
    from rich.console import Console

    return Console(stderr=True, quiet=os.environ.get("LOCAL_RANK", "0") != "0")
