"""Table rows and compositions: which columns become numbers, which rows are left out, which come as the test part."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sample_cases import rows

from matcard.data.options import DataOptions, SplitOptions, SyntheticOptions
from matcard.data.read import divide, read_labelled
from matcard.data.rows import RowKind
from matcard.errors import InputError, MatcardWarning
from matcard.training.rundir import write_left_out


def table(n: int = 40, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(rng.normal(size=(n, 3)), columns=["a", "b", "c"])
    return frame.assign(id=[f"r{seed}-{k}" for k in range(n)], kind=np.where(np.arange(n) % 4 == 0, "rare", "common"))


@pytest.fixture
def saved(tmp_path):
    def save(frame, name="rows.csv"):
        path = tmp_path / name
        frame.to_parquet(path) if name.endswith("parquet") else frame.to_csv(path, index=False)
        return str(path)

    return save


@pytest.mark.parametrize("name", ["rows.csv", "rows.csv.gz", "rows.parquet"])
def test_columns_of_numbers_are_the_features(saved, name):
    frame = table().assign(comment="as measured")
    read = rows(DataOptions(source=saved(frame, name), target="kind", kind="table"))
    assert read.kind.features == ("a", "b", "c")
    np.testing.assert_allclose(read.inputs, frame[["a", "b", "c"]].to_numpy())
    assert read.ids.tolist() == frame["id"].tolist()
    assert list(read.columns) == ["kind", "comment"]
    assert read.test is None
    assert read.sound.all()


def test_a_named_index_of_parquet_is_a_column(saved):
    frame = table().set_index("id")
    options = DataOptions(source=saved(frame, "rows.parquet"), target="kind")
    assert rows(options).ids.tolist() == frame.index.tolist()
    again = frame.assign(id=[f"s{k}" for k in range(len(frame))])
    options = DataOptions(source=saved(again, "rows.parquet"), target="kind")
    assert rows(options).ids.tolist() == again["id"].tolist()
    unnamed = frame.set_axis(range(5, 5 + len(frame)))
    read = rows(DataOptions(source=saved(unnamed, "rows.parquet"), target="kind", kind="table"))
    assert read.ids[0] == "1"
    assert read.kind.features == ("a", "b", "c")


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.jsonl.gz"])
def test_json_lines_are_rows_too(tmp_path, name):
    frame = table()
    frame.to_json(tmp_path / name, orient="records", lines=True)
    read = rows(DataOptions(source=str(tmp_path / name), kind="table", target="kind"))
    np.testing.assert_allclose(read.inputs, frame[["a", "b", "c"]].to_numpy(), atol=1e-9)
    assert read.ids.tolist() == frame["id"].tolist()
    assert read.kind == RowKind("table", ("a", "b", "c"), features=("a", "b", "c"))


def test_the_columns_of_compositions_make_the_same_numbers_again(tmp_path):
    frame = pd.DataFrame({"formula": ["Fe2O3", "NaCl"], "Na2O": [3, 0], "CaO": [1, 2], "k": ["a", "b"]})
    frame.to_csv(tmp_path / "t.csv", index=False)
    for features in (None, ["Na2O", "CaO"]):
        options = DataOptions(source=str(tmp_path / "t.csv"), target="k", features=features)
        read = rows(replace(options, kind="compositions"))
        inputs, names, _ = read.kind.numbers(frame)
        np.testing.assert_array_equal(inputs, read.inputs)
        assert names == read.kind.features
        assert read.kind.used == tuple(features or ["formula"])


def test_a_target_of_numbers_is_no_feature(saved):
    labelled = read_labelled(DataOptions(source=saved(table()), target="c", threshold=0.0))
    assert labelled.kind.features == ("a", "b")
    assert labelled.class_names == ("c < 0", "c >= 0")
    np.testing.assert_array_equal(labelled.codes, (table()["c"] >= 0).to_numpy().astype(int))


def test_named_columns_alone_are_taken(saved):
    read = rows(DataOptions(source=saved(table()), target="kind", features=["c", "a"]))
    assert read.kind.features == ("c", "a")
    np.testing.assert_allclose(read.inputs, table()[["c", "a"]].to_numpy())
    with pytest.raises(InputError, match=r"no column 'd' \(--data.features\)"):
        rows(DataOptions(source=saved(table()), target="kind", features=["d"]))


def test_the_column_of_groups_is_no_feature(saved):
    split = SplitOptions(kind="column", column="lab")
    source = saved(table().assign(lab=np.arange(40) // 4))
    options = DataOptions(source=source, target="kind", split=split)
    assert rows(options).kind.features == ("a", "b", "c")
    data = divide(read_labelled(options), options, seed=0)
    parts = [{i // 4 for i in getattr(data.split, part).tolist()} for part in ("train", "val", "test")]
    assert sum(map(len, parts)) == 10


def test_malformed_rows_are_left_out_with_their_reason(saved, tmp_path):
    frame = table().astype({"a": object, "b": object})
    frame.loc[3, "a"] = None
    frame.loc[4, "b"] = "broken"
    frame.loc[5, "b"] = "inf"
    frame.loc[6, "id"] = frame.loc[2, "id"]
    frame.loc[7, "id"] = None
    frame.loc[8, "kind"] = None
    labelled = read_labelled(DataOptions(source=saved(frame), target="kind"))
    left_out = labelled.left_out
    said = dict(zip(left_out["where"], left_out["reason"], strict=True))
    assert said["rows.csv line 5"] == "a is missing"
    assert said["rows.csv line 6"] == "b is 'broken': a finite number was expected"
    assert said["rows.csv line 7"].startswith("b is ")
    assert said["rows.csv line 8"].startswith("duplicated id 'r0-2', first in rows.csv line 4")
    assert said["rows.csv line 9"] == "no id; give the row one"
    assert said["rows.csv line 10"] == "kind is missing"
    assert left_out["id"].tolist() == ["r0-3", "r0-4", "r0-5", "r0-2", "", "r0-8"]
    assert left_out["class"].tolist() == ["common", "rare", "common", "common", "common", ""]
    assert (len(labelled), len(labelled.used)) == (40, 40 - 6)
    write_left_out(labelled, tmp_path / "left_out.csv")
    listed = pd.read_csv(tmp_path / "left_out.csv")
    assert len(listed) == 6
    assert set(listed) == {"id", "where", "reason", "class"}


def test_rows_without_ids_are_numbered(saved):
    read = rows(DataOptions(source=saved(table().drop(columns="id")), target="kind"))
    assert read.ids.tolist() == [str(k) for k in range(1, 41)]


@pytest.mark.parametrize(
    ("frame", "options", "says"),
    [
        (table()[["id", "kind"]], {}, "no column of numbers beside id and target"),
        (table().iloc[:0], {}, "has no rows"),
        (table(), {"id_column": "name"}, r"no column 'name' \(--data.id_column\)"),
        (table(), {"target": "kinds"}, r"no column 'kinds' \(--data.target\): did you mean kind.* there are: a, b, c"),
    ],
)
def test_tables_of_no_use(saved, frame, options, says):
    with pytest.raises(InputError, match=says):
        rows(DataOptions(**{"source": saved(frame), "target": "kind", "kind": "table", **options}))


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "rows.xlsx"
    path.write_bytes(b"PK")
    with pytest.raises(InputError, match=r"from \.parquet, \.csv"):
        rows(DataOptions(source=str(path), target="kind", kind="table"))


def test_a_second_file_is_the_test_part(saved):
    first, second = table(), table(12, seed=1)
    second.loc[:2, ["a", "b", "c"]] = first.loc[:2, ["a", "b", "c"]]
    options = DataOptions(source=saved(first), test_source=saved(second, "test.csv"), target="kind")
    labelled = read_labelled(options)
    data = divide(labelled, options, seed=0)
    assert (data.split.kind, data.split.groups) == ("given", "duplicates")
    assert data.samples.ids[data.split.test].tolist() == second["id"].tolist()
    assert data.samples.ids[data.split.cut].tolist() == first["id"].tolist()[:3]
    assert len(data.split.train) + len(data.split.val) == 37
    assert any("3 samples are left out of training and validation" in note for note in data.notes)
    kept = divide(labelled, replace(options, split=SplitOptions(seen="keep")), seed=0)
    assert kept.samples.ids[kept.split.test].tolist() == second["id"].tolist()
    assert (len(kept.split.train) + len(kept.split.val), len(kept.split.cut)) == (40, 0)
    assert any("3 of 12 test samples have their group (duplicates) in another part" in note for note in kept.notes)
    alone = divide(labelled, replace(options, split=SplitOptions(seen="test")), seed=0)
    assert alone.samples.ids[alone.split.test].tolist() == second["id"].tolist()[3:]
    assert alone.samples.ids[alone.split.cut].tolist() == second["id"].tolist()[:3]
    np.testing.assert_array_equal(alone.split.train, kept.split.train)
    assert any("3 samples are left out of the test part" in note for note in alone.notes)


def test_a_test_part_of_other_columns_is_refused(saved):
    with pytest.raises(InputError, match=r"test\.csv lacks b"):
        rows(
            DataOptions(
                source=saved(table()), test_source=saved(table(seed=1).drop(columns="b"), "test.csv"), target="kind"
            )
        )


def test_equal_rows_are_on_one_side(saved):
    frame = pd.concat([table(), table().assign(id=lambda f: f["id"] + "again")], ignore_index=True)
    options = DataOptions(source=saved(frame), target="kind")
    data = divide(read_labelled(options), options, seed=3)
    assert data.split.kind == "duplicates"
    for part in ("train", "val", "test"):
        places = set(getattr(data.split, part).tolist())
        assert {(k + 40) % 80 for k in places} == places


def test_a_second_file_is_the_test_part_whatever_the_groups(saved):
    first, second = table().assign(lab=[k // 8 for k in range(40)]), table(12, seed=1).assign(lab=[4] * 6 + [9] * 6)
    options = DataOptions(
        source=saved(first),
        test_source=saved(second, "test.csv"),
        target="kind",
        split=SplitOptions(kind="column", column="lab"),
    )
    data = divide(read_labelled(options), options, seed=0)
    assert (data.split.kind, data.split.groups, data.split.seen) == ("given", "column:lab", 8)
    assert data.split.test.tolist() == list(range(40, 52))
    assert data.split.cut.tolist() == list(range(32, 40))
    labs = first["lab"].to_numpy()
    assert set(labs[data.split.train]).isdisjoint(labs[data.split.val])
    seen = replace(options, split=SplitOptions(kind="random"))
    assert divide(read_labelled(seen), seen, seed=0).split.seen == 0, "each sample is a group of its own"


def test_a_second_file_of_groups_that_are_all_known_leaves_nothing(saved):
    again = table().assign(id=[f"t{k}" for k in range(40)])
    options = DataOptions(source=saved(table()), test_source=saved(again, "test.csv"), target="kind")
    with pytest.raises(InputError, match="nothing is left to train on"):
        divide(read_labelled(options), options, seed=0)
    same = read_labelled(replace(options, test_source=saved(table(), "same.csv")))
    assert same.ids[40:].tolist() == [f"{name} (test)" for name in table()["id"]], "an id of both is told apart"
    none = read_labelled(replace(options, test_source=saved(again.assign(kind=None), "none.csv")))
    with pytest.raises(InputError, match="none of the samples of the test part can be used"):
        divide(none, options, seed=0)


@pytest.mark.parametrize(
    ("split", "says"),
    [
        ({"kind": "formula"}, "no groups of kind 'formula'; .*duplicates"),
        ({"kind": "element", "element": "Fe"}, "element is for crystals"),
        ({"seen": "test"}, "a test part that comes with the data, and none does"),
        ({"kind": "given"}, "--data.split.kind given is for a test part that comes with the data, and none does"),
    ],
)
def test_groups_that_rows_do_not_have(saved, split, says):
    options = DataOptions(source=saved(table()), target="kind", split=SplitOptions(**split))
    with pytest.raises(InputError, match=says):
        divide(read_labelled(options), options, seed=0)


@pytest.mark.parametrize("first", [0, 1])
def test_a_column_that_counts_the_rows_is_no_feature(saved, first):
    frame = table().sort_values("kind", ignore_index=True)
    frame.insert(0, "Unnamed: 0", np.arange(first, first + len(frame)))
    source, test = saved(frame), saved(frame.assign(id=[f"t{k}" for k in range(len(frame))]), "test.csv")
    for test_source in (None, test):
        options = DataOptions(source=source, test_source=test_source, target="kind")
        with pytest.warns(MatcardWarning, match=r"'Unnamed: 0' counts the rows.*--data\.features"):
            assert rows(options).kind.features == ("a", "b", "c")
    named = DataOptions(source=source, target="kind", features=["Unnamed: 0", "a"])
    assert rows(named).kind.features == ("Unnamed: 0", "a")


@pytest.mark.parametrize("values", [[0, 1] * 20, [1] * 40, range(2, 42), [*range(40, 0, -1)], [*range(10)] * 4])
def test_other_whole_numbers_are_features(saved, values):
    source = saved(table().assign(number=list(values)))
    assert "number" in rows(DataOptions(source=source, target="kind", kind="table")).kind.features


def test_a_window_of_a_number(saved):
    options = DataOptions(source=saved(table()), target="c", window=(-0.5, 0.5))
    labelled = read_labelled(options)
    assert labelled.class_names == ("not -0.5 <= c <= 0.5", "-0.5 <= c <= 0.5")
    np.testing.assert_array_equal(labelled.codes, table()["c"].between(-0.5, 0.5).to_numpy().astype(int))
    with pytest.raises(InputError, match=r"--data.window \(c runs from"):
        read_labelled(DataOptions(source=options.source, target="c", window=(50.0, 60.0)))
    with pytest.raises(InputError, match="the lower one first"):
        DataOptions(window=(2.0, 1.0))
    with pytest.raises(InputError, match=r"--data\.bins and --data\.window are both given"):
        DataOptions(window=(1.0, 2.0), bins=[1.0])
    with pytest.raises(InputError, match=r"kind: .* are no finite numbers"):
        read_labelled(DataOptions(source=options.source, target="kind", window=(1.0, 2.0)))


def test_synthetic_rows_are_as_asked_for():
    options = DataOptions(source="ten_clusters", synthetic=SyntheticOptions(samples=3000, majority=0.5))
    labelled = read_labelled(options)
    counts = np.bincount(labelled.codes)
    assert labelled.inputs.shape == (3000, 20)
    assert counts[0] / 3000 == pytest.approx(0.5, abs=0.02)
    assert counts[1:].max() - counts[1:].min() < 30
    with pytest.raises(InputError, match=r"expected a number in \(0, 1\)"):
        SyntheticOptions(majority=1.5)
    with pytest.raises(InputError, match="samples is 0"):
        SyntheticOptions(samples=0)


def test_the_card_of_ten_clusters_counts_its_classes():
    from matcard.data.card import load_card

    labelled = read_labelled(DataOptions(source="ten_clusters"))
    counts = dict(zip(labelled.class_names, np.bincount(labelled.codes).tolist(), strict=True))
    assert counts == load_card("ten_clusters").class_counts


def test_glasses(test_data):
    options = DataOptions(
        source=str(test_data / "glass_train.csv.gz"),
        test_source=str(test_data / "glass_validation.csv.gz"),
        kind="compositions",
        target="Tg",
        window=(500.0, 600.0),
    )
    labelled = read_labelled(options)
    held = labelled.test
    assert (len(held), held.sum()) == (28153 + 7023, 7023)
    assert (labelled.codes[~held].sum(), labelled.codes[held].sum()) == (8029, 1942)
    assert labelled.inputs.shape[1] == 18
    np.testing.assert_allclose(labelled.inputs.sum(1), 1.0)


def test_ids_that_are_no_unicode_are_faults_of_their_rows(tmp_path):
    """They could not be written to the files of a run; words of other columns are written by their codes."""
    path = tmp_path / "rows.jsonl"
    rows = [{"id": f"r{k}", "a": k / 7, "kind": "xy"[k % 2]} for k in range(20)]
    rows[3]["id"] = "r\ud800"
    rows[4]["kind"] = "x\udc80"
    path.write_text("\n".join(map(json.dumps, rows)))
    samples = read_labelled(DataOptions(source=str(path), target="kind", kind="table"))
    assert samples.faults[3] == "the id r\\ud800 is no valid Unicode text; write it anew"
    assert samples.ids[3] == "r\\ud800"
    assert samples.class_names == ("x", "x\\udc80", "y")
