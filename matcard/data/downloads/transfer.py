"""One file from one place: the downloader that pooch calls, which resumes, and refuses what is not the file."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from matcard.data.downloads.checks import what_is_wrong
from matcard.data.downloads.places import is_url

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from requests import Response

CONNECT = 10.0
"""Seconds after which a server that does not even take the call is given up, as behind a closed firewall."""

_CHUNK = 1 << 16
_SHOWN = 60  # bytes of an unexpected answer that the message shows
_PASSING = (408, 425, 429)
"""Statuses below 500 that say: try again later."""


class Refused(Exception):  # noqa: N818  (it is about what came)
    """What came is not the file, and asking again will not help."""


@dataclass
class Transfer:
    """Bring a file to where pooch wants it, by way of a partial file that a later attempt continues.

    A file without a known checksum is never continued: two versions of it could be joined without notice.

    Attributes:
        partial: where the file grows; what stays there after an interruption is continued by the next attempt.
        checksums: by algorithm; none where nobody knows any.
        size: bytes, or None.
        timeout: seconds without a byte after which a server is given up.
        report: called with the bytes that are there and their total, or None.
    """

    partial: Path
    checksums: dict[str, str]
    size: int | None
    timeout: float
    report: Callable[[int, int | None], None]

    def __call__(self, url: str, output_file: str, pooch: Any) -> None:
        """Bring the file at `url` (or a path) to `output_file`.

        Raises:
            Refused: something else came.
            requests.RequestException: something that may be over soon: pooch tries again.
        """
        import requests

        resumed = False
        if is_url(url):
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
        import requests

        have = self.partial.stat().st_size if self.checksums and self.partial.exists() else 0
        if self.size is not None and have >= self.size:
            return True  # all of it is there; whether it is sound shows next
        headers = {"User-Agent": "matcard", "Accept-Encoding": "identity"}
        if have:
            headers["Range"] = f"bytes={have}-"
        with requests.get(
            url, stream=True, timeout=(min(CONNECT, self.timeout), self.timeout), headers=headers
        ) as answer:
            continued = answer.status_code == 206 and _begins_at(answer, have)
            if have and not continued and answer.status_code in (206, 416):
                self.partial.unlink()
                raise requests.RequestException("the partial file could not be continued")
            _refuse_what_is_no_file(answer, (206,) if continued else (200,))
            done = have if continued else 0
            length = answer.headers.get("Content-Length")
            total = done + int(length) if length and length.isdigit() else self.size
            with self.partial.open("ab" if continued else "wb") as file:
                self.report(done, total)
                for chunk in answer.iter_content(_CHUNK):
                    done += file.write(chunk)
                    self.report(done, total)
        begin = self._begin()
        if not begin or _is_html(begin):
            self.partial.unlink()
            what = "a web page" if begin else "nothing"
            raise Refused(f"{what} came ({_status(answer)}, {done} bytes), beginning with {_said(begin)}")
        if total is not None and done < total:
            raise requests.exceptions.ChunkedEncodingError(f"{done} of {total} bytes came")
        return continued

    def _begin(self) -> bytes:
        with self.partial.open("rb") as file:
            return file.read(_SHOWN)


def explain(error: Exception, timeout: float) -> str:
    """Say in a few words why a transfer failed."""
    import requests

    if isinstance(error, requests.ConnectTimeout):
        return f"no connection within {min(CONNECT, timeout):g} seconds"
    if isinstance(error, requests.Timeout) or "timed out" in str(error).lower():
        return f"no answer for {timeout:g} seconds"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return f"the answer was cut off ({_root(error)})"
    if isinstance(error, requests.ConnectionError):
        return f"no connection ({_root(error)})"
    return " ".join(str(error).split())


def _refuse_what_is_no_file(answer: Response, good: tuple[int, ...]) -> None:
    """Raise unless the status and the type are those of a file."""
    import requests

    html = "html" in answer.headers.get("Content-Type", "").lower()
    if answer.status_code in good and not html:
        return
    begin = next(answer.iter_content(_SHOWN), b"")
    said = f"the answer is {_status(answer)}, beginning with {_said(begin)}"
    if answer.status_code >= 500 or answer.status_code in _PASSING:
        raise requests.RequestException(said)
    raise Refused(said)


def _begins_at(answer: Response, start: int) -> bool:
    return answer.headers.get("Content-Range", "").startswith(f"bytes {start}-")


def _status(answer: Response) -> str:
    kind = answer.headers.get("Content-Type", "no type")
    return f"status {answer.status_code} {answer.reason or ''}".strip() + f", {kind}"


def _is_html(begin: bytes) -> bool:
    return begin.lstrip().lower().startswith((b"<!doctype html", b"<html"))


def _said(begin: bytes) -> str:
    return repr(begin.decode("latin-1")) if begin else "nothing"


def _root(error: BaseException) -> str:
    """Give the innermost cause, which says more than the layers around it."""
    inner = error.__cause__ or error.__context__
    reason = getattr(error.args[0] if error.args else None, "reason", None)
    if isinstance(reason, BaseException):
        inner = reason
    if inner is not None:
        return _root(inner)
    return " ".join(str(error).split())
