"""`python -m matcard.data`, as a user calls it."""

from __future__ import annotations

import io
import subprocess
import sys

import pytest
from bad_server import Answer
from card_cases import BODY, download_of, make_card
from rich.console import Console

from matcard.cli import run_command
from matcard.data.__main__ import main
from matcard.data.card import card_names, load_card
from matcard.data.draws import Distinct, unit
from matcard.data.options import DataOptions
from matcard.data.read import read_labelled
from matcard.data.show import disk_state, distinct_table, list_cards, say_counts, show_card


@pytest.fixture
def shown(capsys, cache_folder):
    """Runs the command and gives what it printed."""

    def run(*words):
        main(words)
        return capsys.readouterr().out

    return run


def exit_code(*words):
    with pytest.raises(SystemExit) as caught:
        run_command(main, words)
    return caught.value.code


def test_all_data_sets_are_listed_in_a_hundred_columns(shown):
    lines = shown().splitlines()
    assert lines[0].split() == ["name", "kind", "rows", "classes", "imbalance", "licence", "on", "disk"]
    assert [line.split()[0] for line in lines[1:]] == card_names()
    assert max(len(line.rstrip()) for line in lines) <= 100
    rows = {line.split()[0]: line.split()[1:] for line in lines[1:]}
    assert rows["make_classification"] == ["table", "10,000", "5", "36.12", "BSD-3-Clause", "made", "by", "code"]
    assert rows["matbench_mp_gap"] == ["crystals", "106,113", "2", "?", "CC-BY-4.0", "no"]
    assert rows["materials_project"] == ["crystals", "?", "2", "?", "CC-BY-4.0", "no"]


def test_everything_about_a_data_set_is_shown(shown):
    text = " ".join(
        shown("show", "mnist", "deepglassnet", "materials_project", "3dsc_mp", "make_classification").split()
    )
    for part in (
        "Y. LeCun",
        "https://ossci-datasets.s3.amazonaws.com/mnist/t10k-labels-idx1-ubyte.gz",
        "- https://storage.googleapis.com/cvdf-datasets/mnist/t10k-labels-idx1-ubyte.gz",
        "size: 4542",
        "md5: ec29112dd5afa0611ce80d1b7f02629c",
        "1: 7,877 (11.3%)",
        "window - 500 - 600",
        "feature columns SiO2, Al2O3",
        "not measured yet: fetch it",
        "energy_above_hull: - 0.0 - 0.1",
        "target tc",
        "threshold 10.0",
        "n_informative: 8",
        "made by code",
        str(load_card("3dsc_mp").folder),
    ):
        assert part.replace(" ", "") in text.replace(" ", ""), part


def test_nothing_a_card_says_is_left_out(shown):
    for name in card_names():
        card = load_card(name)
        text = "".join(shown("show", name).split())
        for said in (card.title, card.description, card.citation, card.licence, *card.known_problems):
            assert "".join(said.split()) in text
        for download in card.urls:
            for said in (download.url, *download.mirrors, *download.checksums.values()):
                assert said in text


def test_distinct_samples_are_counted_where_asked(shown):
    assert "distinct, 30" not in shown("show", "make_classification")
    table = [line.split() for line in shown("show", "make_classification", "--distinct").splitlines()]
    start = next(k for k, row in enumerate(table) if row[-2:] == ["distinct,", "30"])
    rows = {row[0]: row[1:] for row in table[start + 1 : start + 6]}
    samples = read_labelled(DataOptions(source="make_classification"))
    points = samples.kind.points(samples.inputs)
    found = Distinct.count(points, samples.codes, samples.class_names, length=unit(points)).here
    for label, name in enumerate(samples.class_names):
        assert rows[name] == [f"{(samples.codes == label).sum():,}", f"{found[label]:,.1f}"]


def test_several_scales_stand_side_by_side():
    distinct = Distinct(("far", "near"), (40, 1060), 30.0, (1.0, 30.0), ((2.0, 1.0), (38.4, 1.2)))
    console = Console(file=io.StringIO(), width=100)
    console.print(distinct_table(distinct))
    assert [line.split() for line in console.file.getvalue().splitlines()] == [
        ["class", "samples", "1", "distinct,", "30"], ["near", "1,060", "1.0", "1.2"], ["far", "40", "2.0", "38.4"]
    ]  # fmt: skip


def test_images_have_nothing_to_count_by(capsys, cache_folder):
    assert exit_code("show", "digits", "--distinct") == 2
    assert "digits: images have no numbers to take distances of" in capsys.readouterr().err


def test_fetching_says_where_the_files_are_and_counts(shown, server, monkeypatch):
    content = b"id,cif,gap\n" + b"".join(b"a%d,x,%d\n" % (k, k) for k in range(10))
    card = make_card(download_of(server.says("/a.csv", Answer(content)), content), threshold=7.0)
    monkeypatch.setattr("matcard.data.card.card_names", lambda: ["some_set"])
    monkeypatch.setattr("matcard.data.card.read_card", lambda path: card)
    text = shown("fetch", "some_set")
    assert text.splitlines() == [
        "some_set: A data set",
        f"  {card.folder / 'a.csv'} ({len(content)} bytes)",
        "  gap < 7: 7 (70.0%)",
        "  gap >= 7: 3 (30.0%)",
        "  imbalance ratio 2.333",
    ]
    assert disk_state(card) == "yes"


def test_several_are_fetched_in_one_go(shown):
    text = shown("fetch", "digits", "make_classification")
    assert text.count("imbalance ratio") == 2


def test_an_unknown_name_is_an_error_with_the_nearest_names(capsys, cache_folder):
    assert exit_code("fetch", "digits", "matbench_gap") == 2
    said = capsys.readouterr()
    assert said.err.startswith("error: there is no data set card 'matbench_gap'; did you mean matbench_mp_gap")
    assert said.out == "", "nothing is fetched before all names are known"
    assert exit_code("show", "cifar") == 2
    assert "did you mean cifar10 or cifar100" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ["get", "mnist"],
        ["show"],
        ["fetch"],
        ["fetch", "mnist", "--timeout", "5"],
    ],
)
def test_wrong_usage_is_an_error(capsys, words):
    assert exit_code(*words) == 2
    assert "usage: python -m matcard.data" in capsys.readouterr().err


def test_a_failed_download_is_a_message_and_not_a_traceback(capsys, cache_folder, server, naps, monkeypatch):
    card = make_card(download_of(server.says("/a.csv", Answer(b"", 404))), threshold=7.0)
    monkeypatch.setattr("matcard.data.card.card_names", lambda: ["some_set"])
    monkeypatch.setattr("matcard.data.card.read_card", lambda path: card)
    assert exit_code("fetch", "some_set") == 2
    assert "error: a.csv cannot be fetched:" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--help"], ["show", "--help"], ["fetch", "--help"]])
def test_help_needs_no_library(words):
    call = f"try: m.main({words!r})\nexcept SystemExit: pass"
    code = f"import sys, matcard.data.__main__ as m\n{call}\nprint(sorted(sys.modules))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60).stdout
    assert "usage: python -m matcard.data" in said
    loaded = said.splitlines()[-1]
    assert not [name for name in ("torch", "pandas", "matminer", "pooch", "rich") if f"'{name}'" in loaded]


def test_the_command_runs_as_a_module(cache_folder):
    done = subprocess.run(
        [sys.executable, "-m", "matcard.data"], capture_output=True, text=True, check=True, timeout=60, encoding="utf-8"
    )
    assert len(done.stdout.splitlines()) == 1 + len(card_names())


def test_of_many_classes_the_ends_are_shown():
    lines = say_counts({f"c{k}": 100 - k for k in range(40)}).splitlines()
    assert lines[0].startswith("c0: 100 ")
    assert lines[6] == "... 28 more ..."
    assert lines[-2].startswith("c39: 61 ")
    assert lines[-1] == "imbalance ratio 1.639"
    assert len(lines) == 14


def test_files_that_are_there_in_part_are_counted(cache_folder):
    card = make_card(download_of("http://x/a", BODY), download_of("http://x/b", BODY))
    assert disk_state(card) == "no"
    card.folder.mkdir(parents=True)
    (card.folder / "a").write_bytes(BODY)
    assert disk_state(card) == "1 of 2"
    assert list_cards([card]).row_count == 1
    assert show_card(card).row_count > 8
