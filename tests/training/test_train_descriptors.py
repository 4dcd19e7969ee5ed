"""Descriptors in a run: with graphs, alone, from columns and files, in the model that predicts, and what is refused."""

from __future__ import annotations

import json
from importlib import util
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from train_cases import options, run_here

from matcard.crystals.read import read_crystals
from matcard.errors import InputError, MatcardWarning
from matcard.models.build import JointModel
from matcard.prediction.modelfile import DESCRIPTION
from matcard.prediction.predictor import load_run

if TYPE_CHECKING:
    from pathlib import Path

JOINT = ("--loss.name=cross_entropy", "--data.descriptors=magpie,volume")


def alone(table: Path, run: Path, *more: str) -> list[str]:
    """Options of a network on descriptors alone."""
    more = ("--model.name=mlp", "--model.hidden=32", "--loss.name=cross_entropy", "--optimizer.lr=0.01", *more)
    words = [word for word in options(table, run, *more) if word != "--model.hidden=8"]
    return [word for word in words if not word.startswith("--model.width")]


def learned(run) -> bool:
    """Say whether the training part, at least, was learned."""
    losses = pd.read_csv(run.metrics)["train_loss"]
    return bool(losses.iloc[-1] < losses.iloc[0] / 5)


@pytest.fixture(scope="module")
def joint(small_table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_here(*options(small_table, tmp_path_factory.mktemp("runs") / "joint", *JOINT)).path


def test_the_model_predicts_as_the_run_did(joint: Path, small_table: Path) -> None:
    run = load_run(joint, device="cpu")
    model = run.members[0].network.model
    assert isinstance(model, JointModel)
    assert model.graph is not None
    crystals = read_crystals(small_table)
    found = run.predict([crystals.structure(i) for i in range(len(crystals))], ids=list(crystals.ids)).set_index("id")
    predictions = pd.read_parquet(joint / "predictions.parquet").set_index("id")
    columns = [name for name in predictions if name.startswith("prob_")]
    np.testing.assert_allclose(found.loc[predictions.index, columns], predictions[columns], rtol=1e-4, atol=1e-5)
    assert run.embed([crystals.structure(0)]).shape == (1, 8)


def test_the_model_file_says_what_it_was_made_of(joint: Path) -> None:
    stored = json.loads((joint / "model" / DESCRIPTION).read_text())
    assert [part[::2] for part in stored["kind"]["descriptors"]] == [["magpie", 132], ["volume", 1]]
    train = pd.read_parquet(joint / "predictions.parquet").query("split == 'train'")
    mean = load_run(joint, device="cpu").members[0].network.model.descriptors.mean
    assert len(mean) == 133
    assert len(train) > 10


def test_a_version_that_differs_is_told(joint: Path, small_table: Path, tmp_path: Path) -> None:
    path = joint / "model" / DESCRIPTION
    stored = json.loads(path.read_text())
    stored["kind"]["descriptors"][0][1] = "matminer 0.0.1"
    copy = tmp_path / "model"
    copy.mkdir()
    for file in path.parent.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    (copy / DESCRIPTION).write_text(json.dumps(stored))
    crystals = read_crystals(small_table)
    with pytest.warns(MatcardWarning, match=r"magpie were made in training by matminer 0\.0\.1, and here by matminer"):
        load_run(copy, device="cpu").predict([crystals.structure(0)])


@pytest.mark.filterwarnings("ignore:epoch .* predicts one class only")
def test_descriptors_alone(small_table: Path, tmp_path: Path) -> None:
    run = run_here(
        *alone(
            small_table,
            tmp_path / "run",
            "--data.descriptors=magpie,volume",
            "--trainer.max_epochs=30",
            "--trainer.monitor=accuracy",
        )
    )
    model = load_run(run.path, device="cpu").members[0].network.model
    assert isinstance(model, JointModel)
    assert model.graph is None
    assert learned(run)


@pytest.mark.filterwarnings("ignore:epoch .* predicts one class only")
def test_no_graphs_are_built_for_descriptors_alone(
    joint: Path, small_table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*given: object, **more: object) -> None:
        raise AssertionError("a graph was asked for")

    with monkeypatch.context() as patched:
        for name in ("open_graphs", "build_graphs"):
            patched.setattr(f"matcard.data.crystals.{name}", refused)
        run = run_here(*alone(small_table, tmp_path / "run", "--data.descriptors=magpie,volume"))
        crystals = read_crystals(small_table)
        structures = [crystals.structure(i) for i in range(len(crystals))]
        found = load_run(run.path, device="cpu").predict(structures, ids=list(crystals.ids)).set_index("id")
    assert json.loads((run.path / "model" / DESCRIPTION).read_text())["kind"]["graph"] is None
    predictions = pd.read_parquet(run.predictions).set_index("id")
    columns = [name for name in predictions if name.startswith("prob_")]
    np.testing.assert_allclose(found.loc[predictions.index, columns], predictions[columns], rtol=1e-4, atol=1e-5)
    # Beside a network that has graphs, each is given its own.
    both = load_run(run.path, joint, device="cpu").predict(structures, ids=list(crystals.ids)).set_index("id")
    other = load_run(joint, device="cpu").predict(structures, ids=list(crystals.ids)).set_index("id")
    np.testing.assert_allclose(both[columns], (found[columns] + other[columns]) / 2, rtol=1e-5, atol=1e-6)


@pytest.mark.skipif(util.find_spec("chgnet") is None, reason="chgnet is not installed (the extra matcard[chgnet])")
@pytest.mark.filterwarnings("ignore:epoch .* predicts one class only")
def test_chgnet_alone(small_table: Path, tmp_path: Path) -> None:
    run = run_here(
        *alone(
            small_table,
            tmp_path / "run",
            "--data.descriptors=chgnet",
            "--trainer.max_epochs=30",
            "--trainer.monitor=accuracy",
        )
    )
    assert learned(run)


def test_numbers_of_a_file_that_lacks_some(small_table: Path, tmp_path: Path, monkeypatch) -> None:
    crystals = read_crystals(small_table)
    known = crystals.ids[2:]
    values = np.random.default_rng(0).normal(size=(len(known), 4))
    path = tmp_path / "table.parquet"
    pd.DataFrame(values, columns=list("abcd")).assign(id=known).to_parquet(path)
    monkeypatch.chdir(tmp_path)
    words = options(small_table, tmp_path / "run", "--loss.name=cross_entropy")
    with pytest.warns(MatcardWarning) as told:
        run = run_here(*words, "--data.descriptors=file:table.parquet")
    said = [str(each.message) for each in told if "table.parquet" in str(each.message)]
    assert said == [f"{path} has no row with the ids of 2 of 60 crystals, 'c0', 'c1'; add them"]
    left_out = pd.read_csv(run.left_out)
    assert left_out["id"].tolist() == crystals.ids[:2].tolist()
    assert left_out["reason"][0].endswith("table.parquet has no row with the id 'c0'; add one")
    # A relative path is that of the folder where the run began.
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    structures = [crystals.structure(5), crystals.structure(0)]
    with pytest.warns(MatcardWarning, match=r"no row with the ids of 1 of 2 crystals, 'c0'"):
        frame = load_run(run.path, device="cpu").predict(structures, ids=["c5", "c0"])
    assert frame["error"].isna().tolist() == [True, False]
    assert run.load_config().data.descriptors == f"file:{path}"
    pd.DataFrame({"id": ["other"], "a": [1.0]}).to_parquet(path)
    words = options(small_table, tmp_path / "none", f"--data.descriptors=file:{path}")
    with (
        pytest.warns(MatcardWarning, match=r"of 60 of 60 crystals, 'c0', .* and \d+ more; add"),
        pytest.raises(InputError, match=r"none of the 60 rows .* has no row with the id 'c0'"),
    ):
        run_here(*words)
    path.unlink()
    with pytest.raises(InputError, match=r"table\.parquet cannot be read: .*No such file"):
        load_run(run.path, device="cpu").predict(structures, ids=["c5", "c0"])


def test_a_column_that_gives_the_classes_away_is_told(small_table: Path, tmp_path: Path) -> None:
    crystals = read_crystals(small_table)
    columns = crystals.columns.assign(id=crystals.ids)
    kinds = columns["kind"].astype("category").cat.codes
    rows = [
        json.loads(line) | {"told": int(kind == 1)}
        for line, kind in zip(small_table.read_text().splitlines(), kinds, strict=True)
    ]
    table = tmp_path / "told.jsonl"
    table.write_text("\n".join(map(json.dumps, rows)))
    with pytest.warns(MatcardWarning, match=r"told alone tells a class from the others"):
        run_here(*options(table, tmp_path / "run", "--loss.name=cross_entropy", "--data.descriptors=columns:size,told"))
    file = tmp_path / "features.csv"
    pd.DataFrame(rows)[["id", "size", "told"]].to_csv(file, index=False)
    with pytest.warns(MatcardWarning, match=r": .*told alone tells a class from the others"):
        run_here(*options(small_table, tmp_path / "file", "--data.descriptors", f"volume,file:{file}"))


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--data.descriptors=columns:kind"], "'kind' is the column that is to be predicted"),
        (["--data.descriptors=columns:nothing"], "no column 'nothing'"),
        (["--data.descriptors=chgnett"], "no descriptor 'chgnett'"),
        (["--data.descriptors="], "expected none, or different names"),
    ],
)
def test_what_is_refused(small_table: Path, tmp_path: Path, more: list[str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        run_here(*options(small_table, tmp_path / "run", *more))


def test_networks_and_data_that_do_not_go_together(small_table: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"mlp takes crystals by numbers: say which with --data\.descriptors"):
        run_here(*alone(small_table, tmp_path / "run"))
    rows = ["--config=synthetic", "--data.descriptors=magpie", f"--run_dir={tmp_path / 'rows'}"]
    with pytest.raises(InputError, match="magpie are numbers of crystals; for table rows leave it out"):
        run_here(*rows)
