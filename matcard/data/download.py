"""Files of a card: fetched by pooch from where they can be had, continued where cut off, checked at every use."""

from __future__ import annotations

import os
import shutil
import warnings
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pooch
import requests
from requests.exceptions import ChunkedEncodingError
from rich.console import Console

from matcard.cli import rank
from matcard.errors import InputError, MatcardWarning
from matcard.files import locked, written_whole
from matcard.progress import crystal_progress

if TYPE_CHECKING:
    from collections.abc import Callable

    from matcard.data.card import Card, Download

MIRROR = "MATCARD_MIRROR"
"""Environment variable: a folder or url that is looked in first, as `<card>/<file>` or `<file>`."""

TIMEOUT = 30.0
"""Seconds without a byte after which a server is given up."""

CONNECT = 10.0
"""Seconds after which a server that does not even take the call is given up, as behind a closed firewall."""

RETRIES = 3
"""How often a transfer that failed in a way that may pass is tried again, after 1, 2, 3 seconds."""

_CHUNK = 1 << 16
_SHOWN = 60  # bytes of an unexpected answer that the message shows
_PASSING = (408, 425, 429)
"""Statuses below 500 that say: try again later."""


class Refused(Exception):  # noqa: N818  (it is about what came)
    """What came is not the file, and asking again will not help."""


def download_files(card: Card) -> dict[str, Path]:
    """Give every file of a card by its name, downloaded if need be.

    A file in the cache is checked against its checksum every time; one that was put there by hand is taken like any
    other. Progress is shown on the standard error stream, of several processes of a run by the first.

    Raises:
        InputError: a file that cannot be had; the message says what came from where, and how to place it by hand.
    """
    console = Console(stderr=True, quiet=rank() != 0)
    files = {}
    for download in card.urls:
        path = files[download.file_name] = card.folder / download.file_name
        sound = _is_sound(path, download)
        try:
            if not sound:
                path.parent.mkdir(parents=True, exist_ok=True)
                with locked(path, f"fetches {path.name}"):
                    if not _is_sound(path, download):  # another process may have fetched it meanwhile
                        _fetch(path, download, _places(card, download), console)
        except OSError as error:  # a full disk, or a folder that cannot be written: nothing is left half-written
            with suppress(OSError):
                _partial(path).unlink(missing_ok=True)
            advice = "make room, or name another folder in MATCARD_CACHE"
            why = f"{path.parent} cannot be written ({error.strerror or error}); {advice}"
            raise InputError(_by_hand(path, download, [f"{download.url}: {why}"])) from error
        _note_checksum(path, download)
    return files


def _fetch(path: Path, download: Download, places: list[str], console: Console) -> None:
    """Try one place after the other."""
    checksums = expected_checksums(path, download)
    if path.exists():
        wrong = what_is_wrong(path, checksums, download.size)
        warnings.warn(f"{path} is not the file: {wrong}; it is fetched again", MatcardWarning, stacklevel=3)
        if not checksums:  # pooch would take it as it is
            path.unlink()
    pooch.get_logger().setLevel("WARNING")
    known = next((f"{algorithm}:{checksum}" for algorithm, checksum in checksums.items()), None)
    failures = []
    for place in places:
        keeper = pooch.Pooch(
            path.parent, "", registry={path.name: known}, urls={path.name: place}, retry_if_failed=RETRIES
        )
        if not console.is_terminal:
            console.print(f"fetching {path.name} from {place}", markup=False, soft_wrap=True)
        try:
            with crystal_progress(console, path.name, "bytes") as report:
                keeper.fetch(path.name, downloader=Transfer(_partial(path), checksums, download.size, report))
        except (Refused, ValueError, requests.RequestException) as error:
            failures.append(f"{place}: {_explain(error)}")
        except OSError as error:
            if error.filename != place:  # it is not the mirror that cannot be read
                raise
            failures.append(f"{place}: {error.strerror}")
        else:
            return
    raise InputError(_by_hand(path, download, failures))


def _places(card: Card, download: Download) -> list[str]:
    """Give the urls and paths of a file in the order they are tried: MATCARD_MIRROR, its url, its mirrors.

    Raises:
        InputError: MATCARD_MIRROR is neither a url nor a folder.
    """
    mirror = os.environ.get(MIRROR, "")
    names = (f"{card.name}/{download.file_name}", download.file_name)
    near = [f"{mirror.rstrip('/')}/{name}" for name in names if mirror]
    if mirror and not _is_url(mirror):
        folder = Path(mirror).expanduser()
        if not folder.is_dir():
            raise InputError(f"{MIRROR} is {mirror!r}: expected a url, or a folder that exists")
        near = [str(folder / name) for name in names if (folder / name).is_file()]
    return [*near, download.url, *download.mirrors]


@dataclass
class Transfer:
    """The downloader that pooch calls: one file from one place, by way of a partial file that a later try continues.

    A file without a known checksum is never continued: two versions of it could be joined without notice.

    Attributes:
        partial: where the file grows; what stays there after an interruption is continued by the next attempt.
        checksums: by algorithm; none where nobody knows any.
        size: bytes, or None.
        report: called with the bytes that are there and their total, or None.
    """

    partial: Path
    checksums: dict[str, str]
    size: int | None
    report: Callable[[int, int | None], None]

    def __call__(self, url: str, output_file: str, pooch: Any) -> None:
        """Bring the file at `url` (or a path) to `output_file`.

        Raises:
            Refused: something else came.
            requests.RequestException: something that may be over soon: pooch tries again.
        """
        resumed = False
        if _is_url(url):
            resumed = self._receive(url)
        else:
            shutil.copyfile(url, self.partial)
        wrong = what_is_wrong(self.partial, self.checksums, self.size)
        if wrong is not None:
            found = _said(self._begin())
            self.partial.unlink()
            if resumed:
                raise requests.RequestException(f"the continued download is not the file: {wrong}")
            raise Refused(f"the answer is not the file: {wrong}; it begins with {found}")
        self.partial.replace(output_file)

    def _receive(self, url: str) -> bool:
        """Write the answer to the partial file, and say whether it continued one."""
        have = self.partial.stat().st_size if self.checksums and self.partial.exists() else 0
        if self.size is not None and have >= self.size:
            return True  # all of it is there; whether it is sound shows next
        headers = {"User-Agent": "matcard", "Accept-Encoding": "identity"}
        if have:
            headers["Range"] = f"bytes={have}-"
        with requests.get(url, stream=True, timeout=(CONNECT, TIMEOUT), headers=headers) as answer:
            range_begins = answer.headers.get("Content-Range", "").startswith(f"bytes {have}-")
            continued = answer.status_code == 206 and range_begins
            if have and not continued and answer.status_code in (206, 416):
                self.partial.unlink()
                raise requests.RequestException("the partial file could not be continued")
            _refuse_what_is_no_file(answer, 206 if continued else 200)
            done = have if continued else 0
            length = answer.headers.get("Content-Length")
            total = done + int(length) if length and length.isdigit() else self.size
            with self.partial.open("ab" if continued else "wb") as file:
                self.report(done, total)
                for chunk in answer.iter_content(_CHUNK):
                    done += file.write(chunk)
                    self.report(done, total)
        begin = self._begin()
        if not begin or begin.lstrip().lower().startswith((b"<!doctype html", b"<html")):
            self.partial.unlink()
            what = "a web page" if begin else "nothing"
            raise Refused(f"{what} came ({_status(answer)}, {done} bytes), beginning with {_said(begin)}")
        if total is not None and done < total:
            raise ChunkedEncodingError(f"{done} of {total} bytes came")
        return continued

    def _begin(self) -> bytes:
        with self.partial.open("rb") as file:
            return file.read(_SHOWN)


def _refuse_what_is_no_file(answer: requests.Response, good: int) -> None:
    """Raise unless the status and the type are those of a file."""
    html = "html" in answer.headers.get("Content-Type", "").lower()
    if answer.status_code == good and not html:
        return
    said = f"the answer is {_status(answer)}, beginning with {_said(next(answer.iter_content(_SHOWN), b''))}"
    if answer.status_code >= 500 or answer.status_code in _PASSING:
        raise requests.RequestException(said)
    raise Refused(said)


def _explain(error: Exception) -> str:
    """Say why a transfer failed."""
    said = " ".join(str(error).split())
    if isinstance(error, requests.ConnectTimeout):
        return f"no connection within {CONNECT:g} seconds"
    if isinstance(error, requests.Timeout) or "timed out" in said.lower():
        return f"no answer for {TIMEOUT:g} seconds"
    if isinstance(error, ChunkedEncodingError):
        return f"the answer was cut off ({said})"
    return f"no connection ({said})" if isinstance(error, requests.ConnectionError) else said


def _status(answer: requests.Response) -> str:
    kind = answer.headers.get("Content-Type", "no type")
    return f"status {answer.status_code} {answer.reason or ''}".strip() + f", {kind}"


def _said(begin: bytes) -> str:
    return repr(begin.decode("latin-1")) if begin else "nothing"


def _is_url(place: str) -> bool:
    return place.startswith(("http://", "https://"))


def _partial(path: Path) -> Path:
    return path.with_name(f".{path.name}.part")


def _by_hand(path: Path, download: Download, failures: list[str]) -> str:
    """Say what was tried, and how a user places the file."""
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


def expected_checksums(path: Path, download: Download) -> dict[str, str]:
    """Give the checksums by algorithm: published ones, else the sha256 that was noted when `path` was first seen."""
    note = note_of(path)
    if download.checksums or not note.exists():
        return download.checksums
    return {"sha256": note.read_text(encoding="utf-8", errors="replace").strip()}


def what_is_wrong(path: Path, checksums: dict[str, str], size: int | None) -> str | None:
    """Say how a file differs from what it should be, or None."""
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


def _is_sound(path: Path, download: Download) -> bool:
    return path.exists() and what_is_wrong(path, expected_checksums(path, download), download.size) is None


def _note_checksum(path: Path, download: Download) -> None:
    """Where the source publishes no checksum, note the sha256 of the file as it came; it is checked from then on."""
    note = note_of(path)
    if download.checksums or note.exists():
        return
    measured = pooch.file_hash(path)
    try:
        with written_whole(note) as beside:
            beside.write_text(measured, encoding="ascii")
    except OSError as error:
        warnings.warn(f"{note} cannot be written ({error.strerror})", MatcardWarning, stacklevel=3)
    warnings.warn(
        f"{path.name}: its source publishes no checksum, so the file is trusted as it came; its sha256 {measured} is "
        f"noted in {note} and checked whenever the file is used",
        MatcardWarning,
        stacklevel=3,
    )


def note_of(path: Path) -> Path:
    """Give where the sha256 of a file is noted whose source publishes none."""
    return path.with_name(f"{path.name}.sha256")
