from __future__ import annotations

import dataclasses

import pytest
import yaml
from sample_cases import parted

from matcard.data.card import FORMATS, Card, Download, Query, card_names, load_card, read_card
from matcard.data.sources import load_crystals
from matcard.errors import InputError
from matcard.files import resource_dir

VALID = {
    "title": "A data set",
    "kind": "crystals",
    "description": "What it is.",
    "citation": "Somebody, 2020.",
    "licence": "CC-BY-4.0",
    "urls": [{"url": "https://example.org/a.parquet", "size": 10, "sha256": "ab" * 32}],
    "format": "table",
    "target": "gap",
    "class_counts": None,
    "known_problems": [],
    "threshold": 3,
}


def load_table(card, **options):
    return parted(load_crystals(card, **options))


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
        format="table",
        target="gap",
        class_counts=None,
        known_problems=(),
        threshold=3,
    )
    assert card.rows is None


def test_counts_give_rows(card_of):
    card = card_of(class_counts={"metal": 90, "insulator": 10})
    assert card.rows == 100


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
        ("matminer", ["matbench_glass"]),
        ("entries", 0),
        ("composition_column", ""),
        ("feature_columns", "SiO2"),
        ("class_names", [1, 2]),
        ("parameters", {1: 2}),
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
        ({"url": "https://example.org", "mirrors": "https://example.org"}, "key 'mirrors': expected a list"),
        ({"url": "https://example.org", "mirrors": ["example.org"]}, "key 'mirrors': expected a list"),
        ({"url": "https://example.org", "name": "../a"}, "key 'name': expected the name of a file, without a folder"),
        ({"url": "https://example.org", "name": ".."}, "key 'name': expected the name of a file"),
        ({"url": "https://example.org", "part": 1}, "key 'part': expected one of train, validation, test"),
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
    with pytest.raises(InputError, match="'bins' and 'window': a target has one of them"):
        card_of("threshold", bins=[1, 2], window=[1, 2])
    with pytest.raises(InputError, match="'matminer' and 'urls': matminer's list gives the urls"):
        card_of(matminer="matbench_glass")
    with pytest.raises(InputError, match="'query': the format materials-project has one, and no other"):
        card_of(query={"fields": ["band_gap"], "filters": {}})
    with pytest.raises(InputError, match="'query': the format materials-project has one"):
        card_of(format="materials-project")
    with pytest.raises(InputError, match=r"'class_names' and 'class_counts': they name different classes"):
        card_of(class_names=["a", "b"], class_counts={"a": 3, "c": 2})
    assert card_of(class_names=["a", "b"], class_counts={"b": 3, "a": 2}).rows == 5
    with pytest.raises(InputError, match="key 'format': images come as digits, idx, cifar; found 'table'"):
        card_of(kind="images")


def test_files_that_could_not_be_kept_or_read_are_refused(card_of):
    good = VALID["urls"][0]
    with pytest.raises(InputError, match=r"urls\[1\]: the url ends without the name of a file: give its 'name'"):
        card_of(urls=[good, {"url": "https://example.org/"}])
    with pytest.raises(InputError, match=r"'urls': two files are called 'a\.parquet'"):
        card_of(urls=[good, {"url": "https://example.net/a.parquet"}])
    assert len(card_of(urls=[good, {"url": "https://example.net/a.parquet", "name": "b.parquet"}]).urls) == 2
    with pytest.raises(InputError, match="'urls': the format table needs files"):
        card_of(urls=[])
    with pytest.raises(InputError, match="'urls': the format make_classification takes no files"):
        card_of(kind="table", format="make_classification")
    with pytest.raises(InputError, match="'urls': the format materials-project takes no files"):
        card_of(format="materials-project", query={"fields": ["a"], "filters": {}})


def test_nested_keys_are_checked_like_the_others(card_of):
    with pytest.raises(InputError, match=r"some_set\.yaml: key 'window': expected a list.*two, the lower one first"):
        card_of("threshold", window=500)
    with pytest.raises(
        InputError, match=r"query: expected a mapping with the keys fields, filters; found \['band_gap'\]"
    ):
        card_of(query=["band_gap"])
    for wrong in ([1], [1, 2, 3], [2, 1], ["1", 2]):
        with pytest.raises(InputError, match=r"some_set\.yaml: key 'window': expected .*two, the lower one first"):
            card_of("threshold", window=wrong)
    with pytest.raises(InputError, match=r"some_set\.yaml: query: the key 'filters' is missing"):
        card_of(format="materials-project", query={"fields": ["a"]})
    with pytest.raises(InputError, match=r"some_set\.yaml: query: unknown key 'field'; did you mean fields"):
        card_of(format="materials-project", query={"field": ["a"], "filters": {}})
    with pytest.raises(
        InputError,
        match=r"some_set\.yaml: query: key 'fields': expected a list, each of it text, one at least, found \[\]",
    ):
        card_of(format="materials-project", query={"fields": [], "filters": {}})


def test_a_window_a_query_and_parameters_are_read(card_of):
    card = card_of("threshold", kind="compositions", format="csv", window=[500, 600])
    assert (card.window, card.num_classes) == ((500, 600), 2)
    card = card_of(urls=[], format="materials-project", query={"fields": ["a"], "filters": {"b": [0, 1], "c": True}})
    assert card.query == Query(("a",), {"b": [0, 1], "c": True})
    card = card_of("threshold", kind="table", urls=[], format="make_classification", parameters={"weights": [0.5]})
    assert (card.parameters, card.made_by_code, card.num_classes) == ({"weights": [0.5]}, True, None)


@pytest.mark.parametrize(
    ("changed", "classes"),
    [
        ({"threshold": 1}, 2),
        ({"bins": [1, 2, 3], "threshold": None}, 4),
        ({"class_names": ["a", "b", "c"], "threshold": None}, 3),
        ({"class_counts": {"a": 1, "b": 1, "c": 1, "d": 1, "e": 1}}, 5),
        ({"threshold": None}, None),
    ],
)
def test_the_number_of_classes_is_known_without_the_data_where_it_can_be(card_of, changed, classes):
    assert card_of(**changed).num_classes == classes


def test_rows_are_those_with_a_label_or_those_that_the_source_states(card_of):
    assert card_of(entries=7).rows == 7
    assert card_of(entries=7, class_counts={"a": 3, "b": 2}).rows == 5


@pytest.mark.parametrize(
    ("download", "name"),
    [
        (Download("https://example.org/a/b.tar.gz"), "b.tar.gz"),
        (Download("https://example.org/a/b%20c.csv?download=1"), "b c.csv"),
        (Download("https://example.org/files/17", name="data.json.gz"), "data.json.gz"),
    ],
)
def test_a_file_is_called_like_the_end_of_its_url_or_as_the_card_says(download, name):
    assert download.file_name == name


def test_urls_checksums_and_rows_are_read_from_matminer(card_of, monkeypatch):
    card = card_of(urls=[], format="matminer", matminer="matbench_glass")
    assert card.entries == 5680
    (download,) = card.urls
    assert (download.file_name, download.size) == ("matbench_glass.json.gz", None)
    monkeypatch.setattr(
        "matcard.data.card._matminer_entries",
        lambda: {
            "matbench_glass": {"url": "https://new.org/1", "hash": "ab" * 32, "file_type": "json.gz", "num_entries": 2}
        },
    )
    card = card_of(urls=[], format="matminer", matminer="matbench_glass")
    assert card.urls == (Download("https://new.org/1", sha256="ab" * 32, name="matbench_glass.json.gz"),)
    assert card.rows == 2
    with pytest.raises(
        InputError, match=r"some_set\.yaml: key 'matminer': .*'matbench_glas'; did you mean matbench_glass"
    ):
        card_of(urls=[], format="matminer", matminer="matbench_glas")


def test_no_card_copies_what_matminer_lists():
    from matminer.datasets.utils import _load_dataset_dict

    listed = _load_dataset_dict()
    for name in card_names():
        text = (resource_dir("datasets") / f"{name}.yaml").read_text()
        card = load_card(name)
        assert (card.matminer is not None) == (name in listed)
        if card.matminer is not None:
            entry = listed[name]
            assert entry["url"] not in text
            assert entry["hash"] not in text
            assert card.urls == (Download(entry["url"], sha256=entry["hash"], name=f"{name}.json.gz"),)
            columns = set(entry["columns"]) | {None}
            assert {card.target, card.id_column, card.structure_column, card.composition_column} <= columns
            assert card.entries == entry["num_entries"]
            if card.class_counts is not None:
                assert sum(card.class_counts.values()) == entry["num_entries"]


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


def test_the_embedded_card_says_what_the_code_generates(tmp_path, monkeypatch):
    monkeypatch.setenv("MATCARD_CACHE", str(tmp_path))
    card = load_card("perovskite_phases")
    table = load_table(card)
    assert table.columns[card.target].value_counts().to_dict() == card.class_counts
    assert card.rows == len(table)
    assert "SYNTHETIC" in card.description
    assert "not good for" in card.description
    assert card.urls == ()


def test_every_field_of_a_card_but_its_name_is_a_key_that_is_checked(card_of):
    keys = {field.name for field in dataclasses.fields(Card)} - {"name"}
    for key in keys - {"parameters"}:
        with pytest.raises(InputError, match=rf"some_set\.yaml: .*{key}"):
            card_of(**{key: {"no": ["such", "value"]}})
    for key in keys - VALID.keys():
        assert card_of(**{key: None}) == card_of(), "null is as good as nothing"
    with pytest.raises(InputError, match="unknown key 'name'"):
        card_of(name="other")


WANTED = {
    "crystals": """perovskite_phases matbench_mp_is_metal matbench_mp_gap matbench_perovskites matbench_phonons
        matbench_dielectric castelli_perovskites mp_all_20181018 jarvis_dft_3d ricci_boltztrap_mp_tabular
        materials_project 3dsc_mp""",
    "compositions": "matbench_glass matbench_expt_is_metal deepglassnet",
    "images": "digits mnist fashion_mnist cifar10 cifar100",
    "table": "make_classification",
}


@pytest.mark.parametrize("kind", WANTED)
def test_there_is_a_card_for_each_data_set_with_all_that_reading_it_needs(kind):
    cards = [card for card in map(load_card, card_names()) if card.kind == kind]
    assert {card.name for card in cards} >= set(WANTED[kind].split())
    assert kind in FORMATS
    for card in cards:
        assert card.made_by_code == (not card.urls and card.query is None)
        assert card.known_problems
        if kind == "compositions":
            assert (card.composition_column is None) == bool(card.feature_columns)
        if kind == "images":
            assert card.class_counts is not None
            assert card.class_names == tuple(card.class_counts) or card.format == "cifar"
            assert all(download.md5 and download.size for download in card.urls)


@pytest.mark.parametrize(
    ("name", "checksums"),
    [
        ("cifar10", ["c58f30108f718f92721af3b95e74349a"]),
        ("cifar100", ["eb9058c3a382ffc7106e4002c42a8d85"]),
        (
            "fashion_mnist",
            [
                "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
                "25c81989df183df01b3e8a0aad5dffbe",
                "bef4ecab320f06d8554ea6380940ec79",
                "bb300cfdad3c16e7a12a480ee83cd310",
            ],
        ),
    ],
)
def test_image_files_have_their_published_checksums(name, checksums):
    assert [download.md5 for download in load_card(name).urls] == checksums
