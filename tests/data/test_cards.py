from __future__ import annotations

import dataclasses

import pytest
import yaml

from matcard.data.cards import Card, Download, card_names, load_card, load_table, read_card
from matcard.errors import InputError
from matcard.resources import resource_dir

VALID = {
    "title": "A data set",
    "kind": "crystals",
    "description": "What it is.",
    "citation": "Somebody, 2020.",
    "licence": "CC-BY-4.0",
    "urls": [{"url": "https://example.org/a.parquet", "size": 10, "sha256": "ab" * 32}],
    "format": "parquet",
    "target": "gap",
    "class_counts": None,
    "known_problems": [],
    "threshold": 3,
}


@pytest.fixture
def card_of(tmp_path):
    """Reads the valid card with some keys dropped and others changed."""

    def read(*dropped, **changed):
        values = {key: value for key, value in {**VALID, **changed}.items() if key not in dropped}
        path = tmp_path / "some_set.yaml"
        path.write_text(yaml.safe_dump(values))
        return read_card(path)

    return read


def test_a_card_is_read_as_it_stands(card_of):
    card = card_of()
    assert card == Card(
        name="some_set",
        title="A data set",
        kind="crystals",
        description="What it is.",
        citation="Somebody, 2020.",
        licence="CC-BY-4.0",
        urls=(Download("https://example.org/a.parquet", 10, sha256="ab" * 32),),
        format="parquet",
        target="gap",
        class_counts=None,
        known_problems=(),
        threshold=3,
    )
    assert (card.rows, card.imbalance_ratio) == (None, None)


def test_counts_give_rows_and_imbalance(card_of):
    card = card_of(class_counts={"metal": 90, "insulator": 10})
    assert (card.rows, card.imbalance_ratio) == (100, 9.0)


def test_bins_and_md5(card_of):
    entry = {"url": "http://example.org/a", "size": 1, "md5": "0f" * 16}
    card = card_of("threshold", bins=[1, 2.5], urls=[entry])
    assert card.bins == (1.0, 2.5)
    assert card.urls[0].md5 == "0f" * 16


@pytest.mark.parametrize("key", [key for key in VALID if key != "threshold"])
def test_a_missing_key_is_named_with_its_file(card_of, key):
    with pytest.raises(InputError, match=rf"some_set\.yaml: the key '{key}' is missing"):
        card_of(key)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("title", ""),
        ("title", "two\nlines"),
        ("kind", "crystal"),
        ("kind", ["crystals"]),
        ("description", None),
        ("citation", 2020),
        ("licence", []),
        ("urls", None),
        ("urls", "https://example.org"),
        ("format", " "),
        ("target", None),
        ("class_counts", {}),
        ("class_counts", {"one": 5}),
        ("class_counts", {"a": 1, "b": 0}),
        ("class_counts", {"a": 1, "b": True}),
        ("class_counts", {0: 1, 1: 5}),
        ("class_counts", [3, 4]),
        ("known_problems", "many"),
        ("known_problems", [None]),
        ("id_column", 3),
        ("threshold", "3 eV"),
        ("threshold", True),
        ("threshold", float("nan")),
        ("bins", []),
        ("bins", [2, 1]),
        ("bins", [1, "2"]),
    ],
)
def test_a_value_of_the_wrong_form_is_named_with_its_key(card_of, key, value):
    with pytest.raises(InputError, match=rf"some_set\.yaml: key '{key}': expected"):
        card_of(**{key: value})


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ("https://example.org", "expected a mapping"),
        ({"size": 1, "sha256": "ab" * 32}, "the key 'url' is missing"),
        ({"url": "https://example.org", "sha256": "ab" * 32}, "the key 'size' is missing"),
        ({"url": "https://example.org", "size": 1}, "the key 'sha256' is missing"),
        ({"url": "ftp://example.org", "size": 1, "sha256": "ab" * 32}, "key 'url': expected"),
        ({"url": "https://example.org", "size": 0, "sha256": "ab" * 32}, "key 'size': expected"),
        ({"url": "https://example.org", "size": 1, "sha256": "AB" * 32}, "key 'sha256': expected 64"),
        ({"url": "https://example.org", "size": 1, "md5": "ab" * 32}, "key 'md5': expected 32"),
        ({"url": "https://example.org", "size": 1, "sha265": "ab" * 32}, "did you mean sha256"),
    ],
)
def test_a_wrong_download_is_named_with_its_place(card_of, entry, says):
    good = VALID["urls"][0]
    with pytest.raises(InputError, match=rf"some_set\.yaml: urls\[1\]: .*{says}"):
        card_of(urls=[good, entry])


def test_unknown_keys_and_contradictions_are_refused(card_of):
    with pytest.raises(InputError, match="unknown key 'license'; did you mean licence"):
        card_of(license="MIT")
    with pytest.raises(InputError, match="'threshold' and 'bins'"):
        card_of(bins=[1, 2])


@pytest.mark.parametrize("text", ["title: [", "- a\n- b\n", "", "\udcff"])
def test_what_is_no_card_is_refused_with_its_file(tmp_path, text):
    path = tmp_path / "broken.yaml"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(InputError, match=r"broken\.yaml"):
        read_card(path)
    with pytest.raises(InputError, match=r"absent\.yaml: cannot be read"):
        read_card(tmp_path / "absent.yaml")


def test_the_shipped_cards_are_all_valid():
    names = card_names()
    assert names == sorted(path.stem for path in resource_dir("datasets").iterdir())
    assert "perovskite_phases" in names
    assert [load_card(name).name for name in names] == names


def test_an_unknown_card_is_refused_with_the_nearest_names():
    with pytest.raises(InputError, match=r"'perovskites'; did you mean .*perovskite_phases"):
        load_card("perovskites")


def test_a_card_that_cannot_be_made_yet_says_what_to_do(card_of):
    with pytest.raises(InputError, match=r"some_set.*--data\.source"):
        load_table(card_of())


def test_the_embedded_card_says_what_the_code_generates(tmp_path, monkeypatch):
    monkeypatch.setenv("MATCARD_CACHE", str(tmp_path))
    card = load_card("perovskite_phases")
    table = load_table(card)
    assert table.columns[card.target].value_counts().to_dict() == card.class_counts
    assert card.rows == len(table)
    assert "SYNTHETIC" in card.description
    assert "not good for" in card.description
    assert card.urls == ()


def test_every_field_of_a_card_is_in_the_schema(card_of):
    card = card_of()
    for field in dataclasses.fields(card):
        if field.name not in ("name", "urls"):
            with pytest.raises(InputError, match=field.name):
                card_of(**{field.name: {"no": ["such", "value"]}})
