"""Runs on compositions, table rows and images: the numbers of training again, in order, none lost."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from kind_cases import GLASS, formulas, glasses, points, train_digits, train_formulas, train_glasses, train_points
from safetensors.torch import load_file

import matcard
from matcard.cli import run_command
from matcard.errors import InputError, MatcardWarning
from matcard.evaluate import main as evaluate_main
from matcard.predict import main
from matcard.prediction.predictor import columns


@pytest.fixture(scope="session")
def glass_run(tmp_path_factory):
    return train_glasses(tmp_path_factory.mktemp("kinds") / "glasses")


@pytest.fixture(scope="session")
def formula_run(tmp_path_factory):
    return train_formulas(tmp_path_factory.mktemp("kinds") / "formulas")


@pytest.fixture(scope="session")
def point_run(tmp_path_factory):
    return train_points(tmp_path_factory.mktemp("kinds") / "points")


@pytest.fixture(scope="session")
def digit_run(tmp_path_factory):
    return train_digits(tmp_path_factory.mktemp("kinds") / "digits")


def written(frame, path):
    """Write a table by its ending."""
    if path.name.endswith((".csv", ".csv.gz")):
        frame.to_csv(path, index=False)
    elif path.suffix == ".parquet":
        frame.to_parquet(path)
    else:
        frame.to_json(path, orient="records", lines=True)
    return path


def predict(run, *inputs, out, more=()):
    main([str(run), *map(str, inputs), "-o", str(out), "--device=cpu", *more])
    return pd.read_parquet(out)


def saved(run):
    table = pd.read_parquet(run / "predictions.parquet").set_index("id")
    return table.filter(like="prob_"), table["predicted_at_decision"]


@pytest.mark.parametrize("ending", [".csv", ".csv.gz", ".parquet", ".jsonl", ".jsonl.gz"])
def test_tables_give_what_the_run_gave(glass_run, ending, tmp_path):
    frame = glasses().drop(columns="Tg")
    table = predict(glass_run, written(frame, tmp_path / f"new{ending}"), out=tmp_path / "out.parquet")
    assert table["id"].tolist() == frame["id"].tolist()
    probabilities, chosen = saved(glass_run)
    np.testing.assert_allclose(table.filter(like="prob_"), probabilities.loc[table["id"]], atol=2e-5)
    assert table["predicted"].tolist() == chosen.loc[table["id"]].tolist()
    assert list(table) == list(columns(matcard.load_run(glass_run, device="cpu").class_names))
    unit, first = ("row", 1) if "parquet" in ending else ("line", 1 + ("csv" in ending))
    assert table["source"].tolist()[:2] == [f"new{ending} {unit} {first}", f"new{ending} {unit} {first + 1}"]


def test_a_loss_on_embeddings_alone_has_its_centroids(glass_run):
    assert matcard.load_run(glass_run, device="cpu").members[0].network.centroids is not None
    assert any(name.startswith("centroids.") for name in load_file(glass_run / "model" / "model.safetensors"))


def test_formulas_by_any_usual_column(formula_run, tmp_path):
    probabilities, _ = saved(formula_run)
    frame = formulas()
    expected = probabilities.loc[[str(k + 1) for k in range(len(frame))]]
    for name, more in (("composition", ()), ("formula", ()), ("what", ["--data.composition_column=what"])):
        renamed = frame.rename(columns={"composition": name})
        table = predict(formula_run, written(renamed, tmp_path / "n.csv"), out=tmp_path / "out.parquet", more=more)
        np.testing.assert_allclose(table.filter(like="prob_"), expected, atol=2e-5)


def test_rows_in_any_order_of_columns_beside_others(point_run, tmp_path):
    frame = points().assign(remark="x", unit=7)[["unit", "c", "remark", "a", "b"]]
    table = predict(point_run, written(frame, tmp_path / "new.parquet"), out=tmp_path / "out.parquet")
    probabilities, _ = saved(point_run)
    np.testing.assert_allclose(table.filter(like="prob_"), probabilities.loc[table["id"]], atol=2e-5)
    assert table["reason"].isna().sum() > 100


def test_what_standardises_is_kept(point_run):
    tensors = load_file(point_run / "model" / "model.safetensors")
    split = json.loads((point_run / "split.json").read_text())
    train = points()[["a", "b", "c"]].iloc[[int(name) - 1 for name in split["train"]]]
    np.testing.assert_allclose(tensors["model.mean"], train.mean(), rtol=1e-5)
    np.testing.assert_allclose(tensors["model.std"], train.std(ddof=0), rtol=1e-5)
    said = json.loads((point_run / "model" / "model.json").read_text())
    assert said["kind"]["name"] == "table"
    assert said["kind"]["names"] == ["a", "b", "c"]


def test_rows_that_cannot_be_used_keep_their_place(glass_run, tmp_path):
    frame = glasses(6, seed=3).astype({"SiO2": object})
    frame.loc[1, "SiO2"] = None
    frame.loc[2, "SiO2"] = "much"
    frame.loc[4, list(GLASS)] = 0.0
    frame.loc[5, "Na2O"] = -3.0
    table = predict(glass_run, written(frame, tmp_path / "new.csv"), out=tmp_path / "out.parquet")
    assert table["id"].tolist() == frame["id"].tolist()
    assert table["error"].fillna("").tolist() == [
        "", "SiO2 is missing", "SiO2 is 'much': a finite number was expected", "",
        "it has nothing of any component", "a component has a negative amount",
    ]  # fmt: skip
    assert table["predicted"].notna().tolist() == [True, False, False, True, False, False]


def test_components_that_were_not_in_training_are_named(glass_run, tmp_path, capsys):
    frame = glasses(5, seed=4).assign(Ga2O3=0.0, No=9, Tg=1, C=3.0)
    frame.loc[1, "B2O3"] = 12.0  # a column of training, in which there was nothing
    frame.loc[2, "Ga2O3"] = 4.0  # no column of training
    table = predict(glass_run, written(frame, tmp_path / "new.csv"), out=tmp_path / "out.parquet")
    named = table["reason"].str.extract(r"not in training: ([^;]*)")[0]
    assert named[1:3].tolist() == ["B2O3", "Ga2O3"]
    assert named[[0, 3, 4]].isna().all()
    assert not table["applicable"][1]
    one = predict(glass_run, written(frame.iloc[[2]], tmp_path / "one.csv"), out=tmp_path / "out.parquet")
    assert len(one) == 1
    said = capsys.readouterr().out
    assert "1 input in" in said
    assert "1 is unlike the training part" in said


def test_elements_that_were_not_in_training_are_named(formula_run):
    table = matcard.load_run(formula_run, device="cpu").predict(["Fe2O3", "CsPbI3", "Fe2O3Xx", None, "U3O8"])
    reasons = table["reason"].str.extract(r"not in training: ([^;]*)")[0].tolist()
    assert reasons[1] == "I, Cs, Pb"
    assert reasons[4] == "U"
    assert pd.isna(reasons[0])
    assert table["error"].notna().tolist() == [False, False, True, True, False]


def test_magpie_features_are_made_again(tmp_path):
    run = train_formulas(tmp_path / "run", "--data.composition_features=magpie", "--trainer.max_epochs=1", n=40)
    frame = formulas(40)
    table = matcard.load_run(run, device="cpu").predict(frame)
    probabilities, _ = saved(run)
    expected = probabilities.loc[[str(k + 1) for k in range(len(frame))]]
    np.testing.assert_allclose(table.filter(like="prob_"), expected, atol=2e-5)


def test_frames_of_python(glass_run, formula_run):
    run, frame = matcard.load_run(glass_run, device="cpu"), glasses(4, seed=5)
    table = run.predict(frame)
    assert table["id"].tolist() == frame["id"].tolist()
    pd.testing.assert_frame_equal(run.predict(frame, batch_size=1), table, atol=1e-6)
    assert run.predict(frame, ids="abcd")["id"].tolist() == list("abcd")
    assert run.embed(frame).shape == (4, 4)
    of_formulas = matcard.load_run(formula_run, device="cpu")
    pd.testing.assert_frame_equal(
        of_formulas.predict(["MgO", "ZnS"]), of_formulas.predict(pd.DataFrame({"formula": ["MgO", "ZnS"]}))
    )


@pytest.mark.parametrize("wrong", [[1, 2], glasses(2).drop(columns="CaO"), glasses(0)])
def test_other_objects_are_refused(glass_run, wrong):
    with pytest.raises(InputError, match=r"DataFrame with the columns SiO2|lacks CaO|0 rows and 0 ids"):
        matcard.load_run(glass_run, device="cpu").predict(wrong)


def test_several_runs_on_one_table(glass_run, formula_run, point_run, tmp_path):
    frame = written(glasses(9, seed=6), tmp_path / "new.csv")
    second = train_glasses(tmp_path / "second", "--trainer.max_epochs=1", seed=1)
    both, first, other = (
        predict(runs[0], *runs[1:], frame, out=tmp_path / "out.parquet")
        for runs in ((glass_run, second), (glass_run,), (second,))
    )
    for name in first.filter(like="prob_"):
        np.testing.assert_allclose(both[name], (first[name] + other[name]) / 2, atol=1e-6)
    shutil.copytree(point_run / "model", tmp_path / "other")
    file = tmp_path / "other" / "model.json"
    file.write_text(file.read_text().replace('"a"', '"x"'))
    with pytest.raises(InputError, match="was trained on other columns or another kind of data"):
        predict(point_run, tmp_path / "other", frame, out=tmp_path / "out.parquet")


def test_a_file_that_cannot_be_read_has_a_row(glass_run, tmp_path, capsys):
    good, cut = written(glasses(3), tmp_path / "a.csv"), tmp_path / "b.jsonl"
    text = written(glasses(3), tmp_path / "c.jsonl").read_text()
    cut.write_text(text[: len(text) - 20])
    table = predict(glass_run, good, cut, tmp_path / "c.jsonl", out=tmp_path / "out.parquet")
    assert table["error"].notna().tolist() == [False] * 3 + [True] + [False] * 3
    assert "line 3 is not JSON" in table["error"][3]
    assert "not read to its end" in capsys.readouterr().out


def test_long_tables_are_predicted_as_they_are_read(glass_run, tmp_path, monkeypatch):
    frame, out = glasses(10, seed=8), tmp_path / "out.parquet"
    whole = predict(glass_run, written(frame, tmp_path / "new.csv"), out=out)
    monkeypatch.setattr("matcard.table_files.CHUNK", 4)
    table = predict(glass_run, tmp_path / "new.csv", out=out)
    groups = pq.ParquetFile(out).metadata
    assert [groups.row_group(k).num_rows for k in range(groups.num_row_groups)] == [4, 4, 2]
    pd.testing.assert_frame_equal(table, whole, atol=1e-6)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-"], "standard input is read for runs on crystals only"),
        (["x.cif"], "x.cif: inputs of this run are tables"),
        (["lacking.csv"], "lacking.csv lacks Na2O, CaO, which the run was trained on"),
        (["empty.csv"], "empty.csv: nothing to predict"),
        (["folder"], "folder holds no file that ends in .parquet"),
        (
            ["new.csv", "--data.structure_column=cif"],
            "structure_column cif: the run was trained on compositions",
        ),
        (["new.csv", "--data.id_column=name"], "new.csv has no column 'name'"),
        (["bad.csv"], "none of the inputs could be predicted (2); the first: SiO2 is missing"),
    ],
)
def test_bad_usage(glass_run, words, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "x.cif").write_text("")
    frame = glasses(2)
    frame.to_csv("new.csv", index=False)
    frame.drop(columns=["CaO", "Na2O"]).to_csv("lacking.csv", index=False)
    frame.iloc[:0].to_csv("empty.csv", index=False)
    frame.assign(SiO2=None).to_csv("bad.csv", index=False)
    with pytest.raises(SystemExit) as stopped:
        run_command(main, [str(glass_run), *words, "-o", "out.csv"])
    assert stopped.value.code == 2
    assert said in " ".join(capsys.readouterr().err.split())
    if words == ["bad.csv"]:  # the table is there, and says why
        assert pd.read_csv("out.csv")["error"].tolist() == ["SiO2 is missing"] * 2
    else:
        assert not (tmp_path / "out.csv").exists()


def evaluated(run, source, out, *more):
    evaluate_main([str(run), f"--data.source={source}", "-o", str(out), "--device=cpu", *more])
    return json.loads((out / "metrics.json").read_text()), pd.read_parquet(out / "predictions.parquet")


@pytest.mark.filterwarnings("ignore:the class shares:matcard.errors.MatcardWarning")
def test_a_new_labelled_set(glass_run, tmp_path):
    frame = glasses(40, seed=7)
    frame.loc[3, "CaO"] = None
    frame.loc[5, "Tg"] = None
    metrics, table = evaluated(glass_run, written(frame, tmp_path / "new.csv"), tmp_path / "out")
    assert metrics["n"] == len(table) == 38
    assert metrics["left_out"] == {"malformed": 1, "unlabelled": 1, "unknown": {}}
    assert metrics["overlap"] == {"numbers": 0, "total": 38}
    inside = frame.set_index("id").loc[table["id"], "Tg"].between(440, 480).to_numpy()
    assert ((table["target"] == "440 <= Tg <= 480") == inside).all()
    left = pd.read_csv(tmp_path / "out" / "left_out.csv")
    assert set(left["id"]) == {"g7-3", "g7-5"}


@pytest.mark.filterwarnings("ignore:the class shares:matcard.errors.MatcardWarning")
def test_rows_that_stood_in_training_are_told(point_run, tmp_path, capsys):
    split = json.loads((point_run / "split.json").read_text())
    with pytest.warns(MatcardWarning, match=rf"of 120 rows {len(split['train'])} by their numbers stood in training"):
        metrics, _ = evaluated(point_run, written(points(), tmp_path / "same.csv"), tmp_path / "out")
    assert metrics["overlap"]["numbers"] == len(split["train"])


@pytest.mark.filterwarnings("ignore:the class shares|of 30:matcard.errors.MatcardWarning")
def test_new_formulas_under_another_name(formula_run, tmp_path):
    frame = formulas(30, seed=9).rename(columns={"composition": "made of", "oxide": "holds oxygen"})
    metrics, table = evaluated(
        formula_run, written(frame, tmp_path / "new.csv"), tmp_path / "out",
        "--data.composition_column=made of", "--data.target=holds oxygen",
    )  # fmt: skip
    assert metrics["n"] == 30
    assert table["target"].tolist() == frame["holds oxygen"].tolist()


def test_images_with_and_without_classes(digit_run, tmp_path):
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = digits.images.astype(np.uint8)[:50]
    np.savez(tmp_path / "alone.npz", x=images)
    np.savez(tmp_path / "labelled.npz", x_train=images, y_train=digits.target[:50])
    table = predict(digit_run, tmp_path / "alone.npz", tmp_path / "labelled.npz", out=tmp_path / "out.parquet")
    assert table["id"].tolist() == [str(k) for k in range(50)] * 2
    probabilities, _ = saved(digit_run)
    for part in (table[:50], table[50:]):
        np.testing.assert_allclose(part.filter(like="prob_"), probabilities.loc[part["id"]], atol=2e-5)
    run = matcard.load_run(digit_run, device="cpu")
    np.testing.assert_allclose(run.predict(images)["novelty"], table["novelty"][:50], atol=1e-6)
    for wrong, said in ((images[:, :7], r"shape \(1, 7, 8\)"), (images / 16.0, "float64"), (images[:0], "no images")):
        with pytest.raises(InputError, match=said):
            run.predict(wrong)


@pytest.mark.filterwarnings("ignore:the class shares:matcard.errors.MatcardWarning")
def test_labelled_images(digit_run, tmp_path):
    with pytest.warns(MatcardWarning, match="of 1797 images .* by their numbers stood in training"):
        metrics, table = evaluated(digit_run, "digits", tmp_path / "out")
    assert metrics["n"] == len(table) == 1797
    whole = pd.read_parquet(digit_run / "predictions.parquet").set_index("id")
    assert table["predicted_argmax"].tolist() == whole.loc[table["id"], "predicted"].tolist()


def test_the_model_folder_is_enough(glass_run, tmp_path):
    moved = matcard.load_run(shutil.copytree(glass_run / "model", tmp_path / "shared"), device="cpu")
    pd.testing.assert_frame_equal(
        moved.predict(glasses(5)), matcard.load_run(glass_run, device="cpu").predict(glasses(5))
    )
