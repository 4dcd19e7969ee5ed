from __future__ import annotations

import io
import multiprocessing
import threading
import warnings

import pytest
from bad_server import HTML, Answer
from card_cases import BODY, LONG, download_of, make_card, md5, sha256
from rich.console import Console

from matcard.data.download import note_of
from matcard.data.show import disk_state
from matcard.data.sources import fetch
from matcard.errors import InputError, MatcardWarning


def files_in(folder):
    """The files that a user sees: no locks."""
    return sorted(path.name for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock")


def test_every_file_is_fetched_once_and_checked_at_every_use(server, cache_folder):
    first = download_of(server.says("/a%20b.bin", Answer(BODY)))
    second = download_of(server.says("/files/17", Answer(b"small")), b"small", name="named.csv", md5=md5(b"small"))
    card = make_card(first, second)
    assert disk_state(card) == "no"
    for _ in range(2):
        files = fetch(card)
        assert files == {name: cache_folder / "downloads" / "some_set" / name for name in ("a b.bin", "named.csv")}
        assert files["a b.bin"].read_bytes() == BODY
    assert [path for path, _ in server.asked] == ["/a%20b.bin", "/files/17"]
    assert files_in(cache_folder) == ["a b.bin", "named.csv"]
    assert disk_state(card) == "yes"


def test_a_file_that_changed_on_disk_is_fetched_again_and_said(server, cache_folder):
    card = make_card(download_of(server.says("/a.bin", Answer(BODY))))
    path = fetch(card)["a.bin"]
    path.write_bytes(BODY[:-1] + b"?")
    with pytest.warns(MatcardWarning, match=rf"{path} is not the file: its sha256 is .* fetched again"):
        fetch(card)
    assert path.read_bytes() == BODY
    path.write_bytes(b"")
    server.says("/a.bin", Answer(b"", 404))
    with pytest.warns(MatcardWarning, match="it is empty"), pytest.raises(InputError, match="cannot be fetched"):
        fetch(card)
    assert path.read_bytes() == b"", "a file that is not replaced stays where its owner put it, and is not taken"


def test_a_file_placed_by_hand_is_checked_and_taken(server, cache_folder):
    card = make_card(download_of(f"{server.url}/a.bin"))
    folder = card.folder
    folder.mkdir(parents=True)
    (folder / "a.bin").write_bytes(BODY)
    assert fetch(card)["a.bin"].read_bytes() == BODY
    assert server.asked == []


def test_a_cache_that_only_holds_the_files_need_not_be_writable(server, cache_folder, monkeypatch):
    card = make_card(download_of(f"{server.url}/a.bin"))
    card.folder.mkdir(parents=True)
    (card.folder / "a.bin").write_bytes(BODY)

    def refuse(*arguments, **options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.mkdir", refuse)
    assert fetch(card)["a.bin"].read_bytes() == BODY


def test_mirrors_are_tried_in_order(server, cache_folder):
    url = server.says("/a.bin", Answer(HTML, 403, "text/html"))
    mirrors = (server.says("/one/a.bin", Answer(b"", 404)), server.says("/two/a.bin", Answer(BODY)))
    assert fetch(make_card(download_of(url, mirrors=mirrors)))["a.bin"].read_bytes() == BODY
    assert [path for path, _ in server.asked] == ["/a.bin", "/one/a.bin", "/two/a.bin"]


def test_a_mirror_by_url_is_tried_first(server, cache_folder, monkeypatch):
    monkeypatch.setenv("MATCARD_MIRROR", f"{server.url}/mirror/")
    server.says("/mirror/a.bin", Answer(BODY))
    fetch(make_card(download_of(server.says("/a.bin", Answer(BODY)))))
    assert [path for path, _ in server.asked] == ["/mirror/some_set/a.bin", "/mirror/a.bin"]


@pytest.mark.parametrize("place", ["some_set/a.bin", "a.bin"])
def test_a_mirror_folder_is_tried_first(server, cache_folder, tmp_path, monkeypatch, place):
    mirror = tmp_path / "mirror" / place
    mirror.parent.mkdir(parents=True)
    mirror.write_bytes(BODY)
    monkeypatch.setenv("MATCARD_MIRROR", str(tmp_path / "mirror"))
    path = fetch(make_card(download_of(f"{server.url}/a.bin")))["a.bin"]
    assert path.read_bytes() == BODY
    assert path != mirror
    assert server.asked == []
    assert files_in(cache_folder) == ["a.bin"]


def test_a_wrong_file_in_the_mirror_folder_gives_way_to_the_url(server, cache_folder, tmp_path, monkeypatch):
    (tmp_path / "a.bin").write_bytes(b"old")
    monkeypatch.setenv("MATCARD_MIRROR", str(tmp_path))
    assert fetch(make_card(download_of(server.says("/a.bin", Answer(BODY)))))["a.bin"].read_bytes() == BODY
    server.says("/a.bin", Answer(b"", 404))
    folder = make_card().folder
    (folder / "a.bin").unlink()
    with pytest.raises(InputError, match=r"/a\.bin: the answer is not the file: it has 3 bytes, 10240 were expected"):
        fetch(make_card(download_of(f"{server.url}/a.bin")))
    assert files_in(folder) == []


def test_a_mirror_that_is_not_there_is_an_error(server, cache_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("MATCARD_MIRROR", str(tmp_path / "absent"))
    with pytest.raises(InputError, match=r"MATCARD_MIRROR is .*absent': expected a url, or a folder that exists"):
        fetch(make_card(download_of(server.says("/a.bin", Answer(BODY)))))


def test_a_partial_file_is_continued(server, cache_folder):
    card = make_card(download_of(server.says("/a.bin", Answer(BODY, ranges=True))))
    card.folder.mkdir(parents=True)
    (card.folder / ".a.bin.part").write_bytes(BODY[:1000])
    assert fetch(card)["a.bin"].read_bytes() == BODY
    assert server.asked == [("/a.bin", "bytes=1000-")]
    assert files_in(cache_folder) == ["a.bin"]


def test_a_partial_file_starts_anew_where_the_server_knows_no_ranges(server, cache_folder):
    card = make_card(download_of(server.says("/a.bin", Answer(BODY))))
    card.folder.mkdir(parents=True)
    (card.folder / ".a.bin.part").write_bytes(BODY[:1000])
    assert fetch(card)["a.bin"].read_bytes() == BODY


@pytest.mark.parametrize(
    ("partial", "size", "asked"),
    [
        (b"something else", len(BODY), ["bytes=14-", None]),
        (b"something else", None, ["bytes=14-", None]),
        (BODY + b"and more", None, ["bytes=10248-", None]),
        (BODY + b"and more", len(BODY), [None]),
        (BODY, len(BODY), []),
    ],
)
def test_a_partial_file_of_something_else_starts_anew(server, cache_folder, naps, partial, size, asked):
    card = make_card(download_of(server.says("/a.bin", Answer(BODY, ranges=True)), size=size))
    card.folder.mkdir(parents=True)
    (card.folder / ".a.bin.part").write_bytes(partial)
    assert fetch(card)["a.bin"].read_bytes() == BODY
    assert [wanted for _, wanted in server.asked] == asked


def test_an_answer_that_is_cut_off_is_continued(server, cache_folder, naps):
    cut = Answer(LONG[:150_000], length=len(LONG))
    card = make_card(download_of(server.says("/a.bin", cut, Answer(LONG, ranges=True)), LONG))
    assert fetch(card)["a.bin"].read_bytes() == LONG
    assert [wanted for _, wanted in server.asked] == [None, "bytes=131072-"], "whole pieces of 64 kB were kept"
    assert naps == [1]


def test_an_answer_of_no_stated_length_is_continued_where_the_size_is_known(server, cache_folder, naps):
    cut = Answer(LONG[:150_000], length=-1)
    card = make_card(download_of(server.says("/a.bin", cut, Answer(LONG, ranges=True)), LONG))
    assert fetch(card)["a.bin"].read_bytes() == LONG
    assert [wanted for _, wanted in server.asked] == [None, "bytes=150000-"]


def test_a_file_without_checksum_is_trusted_once_and_checked_ever_after(server, cache_folder):
    card = make_card(download_of(server.says("/a.bin", Answer(BODY)), size=None, sha256=None))
    with pytest.warns(MatcardWarning, match=rf"no checksum.*trusted.*{sha256(BODY)}"):
        path = fetch(card)["a.bin"]
    assert note_of(path).read_text() == sha256(BODY)
    fetch(card)
    path.write_bytes(b"another version")
    server.says("/a.bin", Answer(b"another version"))
    with (
        pytest.warns(MatcardWarning, match="is not the file"),
        pytest.raises(InputError, match=rf"noted when it was first seen\..* delete {note_of(path)}"),
    ):
        fetch(card)
    note_of(path).unlink()
    with pytest.warns(MatcardWarning, match="trusted"):
        assert fetch(card)["a.bin"].read_bytes() == b"another version"


def test_a_file_without_checksum_is_not_continued(server, cache_folder):
    card = make_card(download_of(server.says("/a.bin", Answer(BODY, ranges=True)), size=None, sha256=None))
    card.folder.mkdir(parents=True)
    (card.folder / ".a.bin.part").write_bytes(b"x" * 100)
    with pytest.warns(MatcardWarning, match="trusted"):
        assert fetch(card)["a.bin"].read_bytes() == BODY
    assert server.asked == [("/a.bin", None)]


def test_an_empty_file_without_checksum_is_replaced(server, cache_folder):
    card = make_card(download_of(server.says("/a.bin", Answer(BODY)), size=None, sha256=None))
    card.folder.mkdir(parents=True)
    (card.folder / "a.bin").write_bytes(b"")
    with pytest.warns(MatcardWarning) as said:
        assert fetch(card)["a.bin"].read_bytes() == BODY
    assert ["is empty" in str(said[0].message), "trusted" in str(said[1].message)] == [True, True]


def test_an_md5_is_checked_and_nothing_noted(server, cache_folder):
    card = make_card(download_of(server.says("/a.bin", Answer(BODY)), sha256=None, md5=md5(BODY)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        path = fetch(card)["a.bin"]
    assert not note_of(path).exists()
    other = make_card(download_of(f"{server.url}/a.bin", sha256=None, md5=md5(b"?")), name="other")
    with pytest.raises(InputError, match=rf"its md5 is {md5(BODY)}, {md5(b'?')} was expected"):
        fetch(other)


def _fetch_in_process(card, ready, go):
    ready.put(1)
    go.wait()
    fetch(card)


def test_processes_that_want_the_same_file_fetch_it_once(server, cache_folder):
    card = make_card(download_of(server.says("/a.bin", Answer(BODY))))
    context = multiprocessing.get_context("spawn")
    ready, go = context.Queue(), context.Event()
    processes = [context.Process(target=_fetch_in_process, args=(card, ready, go)) for _ in range(2)]
    for process in processes:
        process.start()
    for _ in processes:
        ready.get(timeout=60)
    go.set()
    for process in processes:
        process.join(timeout=60)
    assert [process.exitcode for process in processes] == [0, 0]
    assert len(server.asked) == 1
    assert files_in(cache_folder) == ["a.bin"]


def test_who_waits_for_another_says_so(server, cache_folder, warned):
    go = threading.Event()
    card = make_card(download_of(server.says("/a.bin", Answer(BODY, wait=go))))
    first = threading.Thread(target=fetch, args=(card,))
    first.start()
    while not server.asked:
        pass
    second = threading.Thread(target=fetch, args=(card,))
    assert "waiting for another process that fetches a.bin" in warned(second)
    go.set()
    first.join(10)
    second.join(10)
    assert len(server.asked) == 1


def test_progress_is_shown_on_a_screen(server, cache_folder, monkeypatch):
    output = io.StringIO()
    card = make_card(download_of(server.says("/a.bin", Answer(BODY))))
    terminal = Console(file=output, width=100, force_terminal=True)
    monkeypatch.setattr("matcard.data.download.Console", lambda **options: terminal)
    fetch(card)
    assert "a.bin" in output.getvalue()
    assert f"{len(BODY)}/{len(BODY)}" in output.getvalue()


def test_in_a_pipe_a_line_stands_for_progress(server, cache_folder, capsys):
    fetch(make_card(download_of(server.says("/a.bin", Answer(BODY)))))
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", f"fetching a.bin from {server.url}/a.bin\n")


def test_what_is_made_by_code_has_no_files(cache_folder):
    card = make_card(kind="images", format="digits")
    assert fetch(card) == {}
    assert not cache_folder.exists()
