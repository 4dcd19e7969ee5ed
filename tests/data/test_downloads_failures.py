"""What a user is told when a file cannot be had; and that nothing half-written is left in its place."""

from __future__ import annotations

import errno
import re
import socket
import threading
from contextlib import nullcontext

import pytest
import requests
from bad_server import HTML, Answer
from card_cases import BODY, LONG, download_of, make_card, sha256
from test_downloads import files_in

from matcard.data.sources import fetch
from matcard.errors import InputError


def failure(card):
    """The message, which always says how to place the file by hand."""
    with pytest.raises(InputError) as caught:
        fetch(card)
    message = str(caught.value)
    (download,) = card.urls
    path = card.folder / download.file_name
    assert message.startswith(f"{download.file_name} cannot be fetched:\n  {download.url}: ")
    assert f"put it at\n  {path}\n" in message
    assert f"({download.size} bytes, sha256 {download.sha256})" in message
    assert "MATCARD_MIRROR" in message
    assert not path.exists()
    return message


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (Answer(b""), r"nothing came \(status 200 OK, application/octet-stream, 0 bytes\)"),
        (Answer(b"", 202), r"the answer is status 202 Accepted, application/octet-stream, beginning with nothing"),
        (
            Answer(HTML, 200, "text/html; charset=utf-8"),
            r"status 200 OK, text/html; charset=utf-8, beginning with '<!DOCTYPE",
        ),
        (
            Answer(HTML),
            r"a web page came \(status 200 OK, application/octet-stream, 54 bytes\), beginning with '<!DOCTYPE",
        ),
        (Answer(b" \n<HTML><body>", kind=None), r"a web page came \(status 200 OK, no type, 14 bytes\)"),
        (Answer(HTML, 202, "text/html"), r"status 202 Accepted, text/html, beginning with '<!DOCTYPE"),
        (Answer(HTML, 403, "text/html"), r"status 403 Forbidden, text/html, beginning with '<!DOCTYPE"),
        (Answer(b"no", 404, "text/plain"), r"status 404 Not Found, text/plain, beginning with 'no'"),
        (
            Answer(BODY[:-1] + b"?"),
            rf"its sha256 is [0-9a-f]{{64}}, {sha256(BODY)} was expected; it begins with '\\x00",
        ),
        (Answer(BODY[:100]), r"it has 100 bytes, 10240 were expected"),
    ],
)
def test_what_is_not_the_file_is_refused_at_once(server, cache_folder, naps, answer, says):
    message = failure(make_card(download_of(server.says("/a.bin", answer))))
    assert re.search(says, message), message
    assert len(server.asked) == 1
    assert naps == []
    assert files_in(cache_folder) == []


def test_a_fault_of_the_server_is_waited_out(server, cache_folder, naps):
    busy = Answer(b"busy", 503, "text/plain")
    card = make_card(download_of(server.says("/a.bin", Answer(b"", 500), busy, Answer(BODY))))
    assert fetch(card)["a.bin"].read_bytes() == BODY
    assert naps == [1, 2]


@pytest.mark.parametrize("status", [429, 500])
def test_a_fault_of_the_server_that_lasts_is_said(server, cache_folder, naps, status):
    card = make_card(download_of(server.says("/a.bin", Answer(b"later", status, "text/plain"))))
    assert f"status {status}" in failure(card)
    assert len(server.asked) == 4
    assert naps == [1, 2, 3]
    assert files_in(cache_folder) == []


def test_an_answer_that_is_always_cut_off_leaves_only_what_can_be_continued(server, cache_folder, naps, monkeypatch):
    monkeypatch.setattr("matcard.data.download.RETRIES", 1)
    cut = Answer(LONG[:150_000], length=len(LONG))
    card = make_card(download_of(server.says("/a.bin", cut), LONG))
    assert re.search(r"the answer was cut off \(.*150000 bytes read", failure(card))
    assert files_in(cache_folder) == [".a.bin.part"]
    server.says("/a.bin", Answer(LONG, ranges=True))
    assert fetch(card)["a.bin"].read_bytes() == LONG
    assert files_in(cache_folder) == ["a.bin"]


def test_a_server_that_hangs_is_given_up(server, cache_folder, naps, monkeypatch):
    monkeypatch.setattr("matcard.data.download.RETRIES", 0)
    monkeypatch.setattr("matcard.data.download.TIMEOUT", 0.2)
    go = threading.Event()
    card = make_card(download_of(server.says("/a.bin", Answer(BODY, wait=go))))
    assert "no answer for 0.2 seconds" in failure(card)
    go.set()


def test_a_server_behind_a_firewall_is_given_up_sooner(cache_folder, naps, monkeypatch):
    asked = []

    def swallowed(url, timeout, **options):
        asked.append(timeout)
        raise requests.ConnectTimeout

    monkeypatch.setattr(requests, "get", swallowed)
    assert "no connection within 10 seconds" in failure(make_card(download_of("https://example.org/a.bin")))
    assert asked == [(10.0, 30.0)] * 4


def test_no_network_is_said(cache_folder, naps):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    message = failure(make_card(download_of(f"http://127.0.0.1:{port}/a.bin")))
    assert re.search(r"no connection \(.*Connection refused", message), message
    assert naps == [1, 2, 3]
    assert files_in(cache_folder) == []


def test_a_host_that_nobody_knows_is_said(cache_folder, naps, monkeypatch):
    def unknown(*arguments, **options):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    message = failure(make_card(download_of("https://data.example.org/a.bin")))
    assert re.search(r"no connection \(.*Name or service not known", message), message


def test_all_places_that_were_tried_are_listed(server, cache_folder, naps, tmp_path, monkeypatch):
    monkeypatch.setenv("MATCARD_MIRROR", f"{server.url}/near")
    download = download_of(server.says("/a.bin", Answer(b"", 404)), mirrors=(f"{server.url}/other/a.bin",))
    with pytest.raises(InputError) as caught:
        fetch(make_card(download))
    tried = re.findall(r"^  (http\S+): ", str(caught.value), re.MULTILINE)
    assert tried == [
        f"{server.url}{path}" for path in ("/near/some_set/a.bin", "/near/a.bin", "/a.bin", "/other/a.bin")
    ]


def test_a_full_disk_is_said_and_cleared(server, cache_folder, monkeypatch):
    card = make_card(download_of(server.says("/a.bin", Answer(BODY))))
    card.folder.mkdir(parents=True)
    partial = card.folder / ".a.bin.part"
    partial.write_bytes(BODY[:50])

    def full(path, *words, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("matcard.data.download.Transfer._receive", full)
    message = failure(card)
    assert f"{card.folder} cannot be written (No space left on device); make room" in message
    assert files_in(cache_folder) == []


def test_a_disk_that_fills_up_while_writing(server, cache_folder):
    """The real thing: /dev/full takes no byte."""
    card = make_card(download_of(server.says("/a.bin", Answer(LONG)), LONG))
    card.folder.mkdir(parents=True)
    (card.folder / ".a.bin.part").symlink_to("/dev/full")
    with pytest.raises(InputError, match="No space left on device"):
        fetch(card)
    assert files_in(cache_folder) == []


def test_a_cache_that_cannot_be_written_is_said(server, cache_folder):
    cache_folder.parent.mkdir(exist_ok=True)
    cache_folder.write_text("a file where the folder should be")
    message = failure(make_card(download_of(server.says("/a.bin", Answer(BODY)))))
    assert re.search(rf"{cache_folder}/downloads/some_set cannot be written \(.*\); .*MATCARD_CACHE", message), message
    assert server.asked == []


def test_a_read_only_cache_is_said(server, cache_folder, monkeypatch):
    def refuse(*arguments, **options):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("pathlib.Path.mkdir", refuse)
    message = failure(make_card(download_of(server.says("/a.bin", Answer(BODY)))))
    assert "cannot be written (Read-only file system)" in message


def test_a_mirror_that_cannot_be_read_gives_way(server, cache_folder, tmp_path, monkeypatch):
    (tmp_path / "a.bin").write_bytes(BODY)
    monkeypatch.setenv("MATCARD_MIRROR", str(tmp_path))

    def refuse(source, target):
        raise PermissionError(errno.EACCES, "Permission denied", source)

    monkeypatch.setattr("shutil.copyfile", refuse)
    with pytest.raises(InputError, match=rf"{tmp_path}/a\.bin: Permission denied\n  {server.url}/a\.bin: .*404"):
        fetch(make_card(download_of(f"{server.url}/a.bin")))
    assert files_in(cache_folder) == []


def test_an_interruption_keeps_what_came(server, cache_folder, monkeypatch):
    card = make_card(download_of(server.says("/a.bin", Answer(LONG, ranges=True)), LONG))
    seen = []

    def impatient(done, total):
        seen.append((done, total))
        if done:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("matcard.data.download.crystal_progress", lambda *words: nullcontext(impatient))
        with pytest.raises(KeyboardInterrupt):
            fetch(card)
    assert seen[0] == (0, len(LONG))
    assert files_in(cache_folder) == [".a.bin.part"]
    assert fetch(card)["a.bin"].read_bytes() == LONG
    assert server.asked == [("/a.bin", None), ("/a.bin", f"bytes={seen[-1][0]}-")]
