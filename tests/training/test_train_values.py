"""Numbers learned beside the classes: from the option to the metrics, the predictions and the model."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import lightning
import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from sklearn.metrics import average_precision_score, mean_absolute_error, r2_score
from train_cases import interrupted, options, run_here

from matcard.comparison.cells import run_network
from matcard.data.read import divide, read_labelled
from matcard.errors import InputError, MatcardWarning
from matcard.evaluate import main as evaluate
from matcard.prediction.predictor import load_run
from matcard.report.run import write_report
from matcard.study.objective import trained
from matcard.training.batches import DataModule
from matcard.training.config import config_from_dict
from matcard.training.fit import build_module
from matcard.training.run import resume

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """300 rows of six numbers, a strength that follows from them, and a hardness that not all rows have."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 6))
    frame = pd.DataFrame(x, columns=[f"x{k}" for k in range(6)])
    frame["strength"] = np.exp(1 + x[:, 0] - x[:, 1] / 2 + rng.normal(0, 0.1, 300))
    frame["hardness"] = np.where(rng.random(300) < 0.5, np.nan, x[:, 0] + x[:, 2])
    frame["id"] = [f"r{k}" for k in range(300)]
    path = tmp_path_factory.mktemp("rows") / "rows.csv"
    frame.to_csv(path, index=False)
    return path


def of_rows(rows: Path, run: Path, *more: str) -> list[str]:
    return [
        f"--data.source={rows}", "--data.target=strength", "--data.features=[x0,x1,x2,x3,x4,x5]", "--model.name=mlp",
        "--loss.name=cross_entropy", "--trainer.max_epochs=15", "--trainer.batch_size=32", "--trainer.accelerator=cpu",
        "--optimizer.lr=0.01", f"--run_dir={run}", "--report=false", *more,
    ]  # fmt: skip


@pytest.fixture(scope="module")
def finished(rows: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "values"
    more = ["--data.threshold=6", "--data.auxiliary=hardness", "--value.weight=2", "--value.transform=log1p"]
    return run_here(*of_rows(rows, path, *more)).path


def test_the_numbers_are_learned_and_measured(finished: Path) -> None:
    metrics = json.loads((finished / "test_metrics.json").read_text())["values"]
    test = pd.read_parquet(finished / "predictions.parquet").query("split == 'test'")
    for name in ("strength", "hardness"):
        known = test[test[f"number_{name}"].notna()]
        true, predicted = known[f"number_{name}"], known[f"value_{name}"]
        found = metrics["numbers"][name]
        assert found["values"] == len(known) > 0
        assert found["mae"] == pytest.approx(mean_absolute_error(true, predicted))
        assert found["r2"] == pytest.approx(r2_score(true, predicted))
    assert metrics["numbers"]["strength"]["r2"] > 0.7
    assert metrics["numbers"]["hardness"]["r2"] > 0.5


def test_the_source_is_what_was_predicted(finished: Path, rows: Path) -> None:
    source = pd.read_csv(rows).set_index("id")
    predictions = pd.read_parquet(finished / "predictions.parquet").set_index("id")
    for name in ("strength", "hardness"):
        np.testing.assert_allclose(predictions[f"number_{name}"], source.loc[predictions.index, name])


def test_probabilities_are_the_mix_of_both_sources(finished: Path) -> None:
    metrics = json.loads((finished / "test_metrics.json").read_text())
    assert 0 <= metrics["values"]["weight"] <= 1
    precision = metrics["values"]["average_precision"]
    test = pd.read_parquet(finished / "predictions.parquet").query("split == 'test'")
    assert precision["mix"] == metrics["average_precision"]
    high = test["target"] == "strength >= 6"
    alone = average_precision_score(high, test["value_strength"])
    assert metrics["ranking"]["strength >= 6"]["average_precision"] == pytest.approx(
        average_precision_score(high, test["prob_strength >= 6"])
    )
    # The number's probability rises with the number, so that it ranks as the number does.
    run = load_run(finished, device="cpu")
    assert run.members[0].network.mix is not None
    by_number = run.members[0].network.mix.of_number(test["value_strength"].to_numpy())[:, 1]
    assert average_precision_score(high, by_number) == pytest.approx(alone)


def test_a_cell_and_a_trial_are_measured_with_the_number_as_the_run_is(finished: Path, tmp_path: Path) -> None:
    config = yaml.safe_load((finished / "config.yaml").read_text())
    resolved = config_from_dict({**config, "run_dir": None})
    data = divide(read_labelled(resolved.data), resolved.data, seed=resolved.seed)
    own = json.loads((finished / "test_metrics.json").read_text())
    line = SimpleNamespace(stopping=False)
    cell = run_network(config, data, tested=True, folder=tmp_path / "cell", line=line)
    for name in ("average_precision", "log_loss", "macro_f1"):
        assert cell["test"]["argmax"][name] == pytest.approx(own[name])
    trial = trained(resolved, DataModule(data, resolved), tmp_path / "trial", line, keep_weights=False)
    validation = pd.read_parquet(finished / "predictions.parquet").query("split == 'val'").set_index("id")
    columns = [f"prob_{name}" for name in trial.class_names]
    np.testing.assert_allclose(trial.probabilities, validation.loc[trial.ids, columns], rtol=1e-4, atol=1e-6)


@pytest.fixture(scope="module")
def few(rows: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The rows, of which 40 have a class; 40 of the others are their twins, and 10 have no hardness either."""
    frame = pd.read_csv(rows)
    frame["kind"] = np.where(frame["strength"] >= 3, "hard", "soft")
    frame["hardness"] = frame["x0"] + frame["x2"]
    frame.loc[40:, "kind"] = None
    x = [f"x{k}" for k in range(6)]
    frame.loc[40:79, x] = frame.loc[:39, x].to_numpy()
    frame.loc[290:, "hardness"] = np.nan
    path = tmp_path_factory.mktemp("few") / "rows.csv"
    frame.to_csv(path, index=False)
    return path


def of_few(few: Path, run: Path, *more: str) -> list[str]:
    words = [word for word in of_rows(few, run, *more) if not word.startswith("--data.target")]
    return [*words, "--data.target=kind", "--data.auxiliary=hardness", "--value.weight=1"]


def test_numbers_of_rows_without_a_class_are_learned(few: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    errors, fresh = (
        {},
        pd.DataFrame(np.random.default_rng(1).normal(size=(500, 6)), columns=[f"x{k}" for k in range(6)]),
    )
    for how in ("leave_out", "learn"):
        more = [f"--data.unlabelled={how}", "--trainer.max_epochs=30", "--trainer.batch_size=4", "--seed=1"]
        more.append("--trainer.diagnostics=true")
        path = run_here(*of_few(few, tmp_path / how, *more)).path
        predicted = load_run(path, device="cpu").predict(fresh)["value_hardness"]
        errors[how] = (predicted - fresh["x0"] - fresh["x2"]).abs().mean()
        assert len(pd.read_parquet(path / "predictions.parquet")) == 40
    assert errors["learn"] < 0.7 * errors["leave_out"]
    held = sum(len(json.loads((tmp_path / "learn" / "split.json").read_text())[part]) for part in ("val", "test"))
    said = capsys.readouterr().out
    assert f"{250 - held} of 250 rows without a class are trained on" in said
    # What is trained on is not left out.
    assert "\n260 rows without a target are in no part" in said
    assert f"\n{held + 10} rows without a target are in no part" in said
    left_out = {how: pd.read_csv(tmp_path / how / "left_out.csv")["id"].tolist() for how in ("leave_out", "learn")}
    assert len(left_out["leave_out"]) == 260
    assert len(left_out["learn"]) == held + 10
    assert left_out["learn"][-10:] == [f"r{k}" for k in range(290, 300)]


def test_all_of_them_come_in_an_epoch_and_a_run_is_gone_on_with(few: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("matcard.training.batches.MOST_UNLABELLED", 10)
    more = ["--data.unlabelled=learn", "--trainer.max_epochs=3", "--trainer.batch_size=8"]
    whole = run_here(*of_few(few, tmp_path / "whole", *more))
    config = whole.load_config()
    data = DataModule(divide(read_labelled(config.data), config.data, seed=0, saved_split=whole.split), config)
    loader = data.train_dataloader()
    pairs = [batch for batch, _, _ in loader]
    assert len(pairs) == len(data.parts["train"]) // 8 + (len(data.parts["train"]) % 8 > 1)
    seen = torch.cat([second.index for _, second in pairs if second is not None])
    assert sorted(seen.tolist()) == data.set.unlabelled.chosen.tolist()
    assert all(second.numbers.isfinite().all() for _, second in pairs if second is not None)
    # By `training.json` an evaluation tells what was trained on.
    marks = json.loads((whole.path / "model" / "training.json").read_text())["numbers"]
    assert len(marks) == len(data.set.unlabelled.chosen)  # each training row has its twin among them
    interrupted(monkeypatch, *of_few(few, tmp_path / "killed", *more))
    resume(tmp_path / "killed")
    assert (tmp_path / "killed" / "metrics.csv").read_text() == whole.metrics.read_text()
    # No more than so many times a batch stand beside it: another part of them in each epoch.
    monkeypatch.setattr("matcard.training.batches.MOST_UNLABELLED", 7)
    data.options = replace(data.options, batch_size=4)
    pairs = [batch for batch, _, _ in data.train_dataloader()]
    assert len(pairs) == len(data.parts["train"]) // 4 + (len(data.parts["train"]) % 4 > 1)
    assert {len(second.index) for _, second in pairs} == {28}


def test_rows_without_a_class_need_numbers(rows: Path, few: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"--data\.unlabelled learn needs numbers to learn"):
        run_here(*of_few(few, tmp_path / "run", "--data.unlabelled=learn")[:-1])
    words = of_rows(rows, tmp_path / "run", "--data.threshold=6", "--data.auxiliary=hardness", "--value.weight=1")
    with pytest.raises(InputError, match=r"no row of the source has a number of --data\.auxiliary and no class"):
        run_here(*words, "--data.unlabelled=learn")


def without_a_class(small_table: Path, path: Path, which: Callable[[int], bool]) -> Path:
    """Write the crystals, those that `which` says without their class."""
    rows = [json.loads(line) for line in small_table.read_text().splitlines()]
    rows = [row | {"kind": None} if which(k) else row for k, row in enumerate(rows)]
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


OF_CRYSTALS = ("--data.auxiliary=size", "--value.weight=1", "--data.unlabelled=learn", "--loss.name=cross_entropy")


def test_crystals_without_a_class_in_a_fold(small_table: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    table = without_a_class(small_table, tmp_path / "some.jsonl", lambda k: k % 3 == 0)
    folds = ["--data.split.folds=3", "--data.split.fold=0"]
    run = run_here(*options(table, tmp_path / "run", *OF_CRYSTALS, *folds))
    said = capsys.readouterr().out
    assert "20 of 20 crystals without a class are trained on by their numbers" in said
    assert "without a target" not in said
    assert not len(pd.read_csv(run.left_out))
    split = json.loads(run.split.read_text())
    assert (split["fold"], len(split["train"]) + len(split["val"]) + len(split["test"])) == (0, 40)
    losses = pd.read_csv(run.metrics)["loss_value"]
    assert losses.iloc[-1] < losses.iloc[0]
    assert json.loads(run.test_metrics.read_text())["values"]["numbers"]["size"]["values"] == len(split["test"])


def test_a_single_crystal_without_a_class_leaves_batch_statistics_alone(small_table: Path, tmp_path: Path) -> None:
    table = without_a_class(small_table, tmp_path / "one.jsonl", lambda k: k == 7)
    run = run_here(*options(table, tmp_path / "run", *OF_CRYSTALS))
    config = run.load_config()
    data = DataModule(divide(read_labelled(config.data), config.data, seed=0, saved_split=run.split), config)
    (batch, single), *rest = [pair for pair, _, _ in data.train_dataloader()]
    assert len(single.index) == 1
    assert {second for _, second in rest} == {None}
    for kept in (False, True):
        states, losses = [], []
        for given in (batch, [batch, single]):
            lightning.seed_everything(0, verbose=False)
            module = build_module(config, data).train()
            module.model.convs[0].bn1.train(not kept)
            losses.append(module.training_step(given, 0))
            losses[-1].backward()
            states.append({name: value for name, value in module.model.named_buffers() if "running" in name})
            assert module.model.convs[1].bn1.training
            assert module.model.convs[0].bn1.training != kept
            assert all(weight.grad is None or weight.grad.isfinite().all() for weight in module.parameters())
        assert states[0].keys() == states[1].keys() != set()
        assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
        assert losses[0] != losses[1]  # it is learned from


def test_a_weight_without_numbers_is_told(small_table: Path, tmp_path: Path) -> None:
    with pytest.warns(MatcardWarning, match=r"--value\.weight 3 plays no part: the classes of kind are not made"):
        run_here(*options(small_table, tmp_path / "run", "--value.weight=3", "--trainer.max_epochs=1"))


def test_the_last_epoch_is_kept_where_that_is_asked_for(rows: Path, tmp_path: Path) -> None:
    runs = {}
    for keep in ("best", "last"):
        more = ["--data.threshold=6", "--trainer.max_epochs=6", "--optimizer.schedule=none", f"--trainer.keep={keep}"]
        runs[keep] = run_here(*of_rows(rows, tmp_path / keep, *more))
    epochs = pd.read_csv(runs["best"].metrics)
    assert epochs["val_macro_f1"].idxmax() < 5, "an earlier epoch has to be the best here"
    for keep, run in runs.items():
        state = torch.load(getattr(run, keep), weights_only=True)["state_dict"]
        model = load_run(run.path, device="cpu").members[0].network.model.state_dict()
        for name, value in model.items():
            assert torch.equal(value, state[f"model.{name}"]), name


def test_the_model_predicts_as_the_run_did(finished: Path, rows: Path) -> None:
    run = load_run(finished, device="cpu")
    assert run.values == ("strength", "hardness")
    predictions = pd.read_parquet(finished / "predictions.parquet").set_index("id")
    found = run.predict(pd.read_csv(rows).drop(columns=["strength", "hardness"])).set_index("id")
    columns = ["prob_strength < 6", "prob_strength >= 6", "value_strength", "value_hardness"]
    np.testing.assert_allclose(found.loc[predictions.index, columns], predictions[columns], rtol=1e-4, atol=1e-5)


def test_a_new_set_is_measured_as_the_test_part_was(finished: Path, rows: Path, tmp_path: Path, capsys) -> None:
    own = json.loads((finished / "test_metrics.json").read_text())["values"]
    test = pd.read_parquet(finished / "predictions.parquet").query("split == 'test'").set_index("id")
    frame = pd.read_csv(rows).set_index("id").loc[test.index].reset_index()

    def measured(name: str, table: pd.DataFrame, *more: str) -> tuple[dict[str, Any], pd.DataFrame]:
        table.to_csv(tmp_path / f"{name}.csv", index=False)
        words = [f"--data.source={tmp_path / name}.csv", "-o", str(tmp_path / name), "--jobs=1", "--device=cpu", *more]
        evaluate([str(finished), *words])
        metrics = json.loads((tmp_path / name / "metrics.json").read_text())
        return metrics["values"], pd.read_parquet(tmp_path / name / "predictions.parquet")

    found, predictions = measured("same", frame)
    assert found["weight"] == own["weight"]
    assert found["average_precision"] == pytest.approx(own["average_precision"])
    for column in ("strength", "hardness"):
        assert found["numbers"][column] == pytest.approx(own["numbers"][column], rel=1e-4)
        np.testing.assert_allclose(predictions[f"number_{column}"], frame[column])
    said = " ".join(capsys.readouterr().out.split())
    assert f"strength: mean absolute error {own['numbers']['strength']['mae']:.4g}, RMSE" in said
    assert f"predicted number {own['average_precision']['number']:.3f}, both" in said

    # Another name for the target, and a number that the set does not have.
    renamed = frame.rename(columns={"strength": "force"}).drop(columns="hardness")
    found, predictions = measured("renamed", renamed, "--data.target=force")
    assert list(found["numbers"]) == ["strength"]
    assert found["numbers"]["strength"] == pytest.approx(own["numbers"]["strength"], rel=1e-4)
    assert predictions["number_hardness"].isna().all()


def test_the_report_draws_predicted_against_true(finished: Path) -> None:
    page = write_report(finished).read_text(encoding="utf-8")
    assert "Predicted numbers" in page
    assert "This section is missing" not in page
    drawn = pd.read_csv(finished / "figures" / "parity-2.csv").set_index("id")
    test = pd.read_parquet(finished / "predictions.parquet").query("split == 'test'").set_index("id")
    known = test[test["number_hardness"].notna()]
    np.testing.assert_allclose(drawn.loc[known.index, "predicted"], known["value_hardness"])
    assert len(drawn) == len(known)
    assert (finished / "figures" / "parity-1.svg").is_file()


def test_an_ensemble_gives_the_mean_of_numbers_that_all_predict(finished: Path, rows: Path, tmp_path: Path) -> None:
    frame = pd.read_csv(rows).head(7)
    more = ["--data.threshold=6", "--data.auxiliary=hardness", "--value.weight=1", "--trainer.max_epochs=2"]
    other = run_here(*of_rows(rows, tmp_path / "other", *more, "--seed=1")).path
    mean = np.mean(
        [load_run(path, device="cpu").predict(frame)["value_strength"] for path in (finished, other)], axis=0
    )
    both = load_run(finished, other, device="cpu")
    np.testing.assert_allclose(both.predict(frame)["value_strength"], mean, rtol=1e-6)
    without = run_here(*of_rows(rows, tmp_path / "without", "--data.threshold=6", "--trainer.max_epochs=1")).path
    mixed = load_run(finished, without, device="cpu").predict(frame)
    assert not [name for name in mixed if str(name).startswith("value_")]


def test_the_class_loss_does_not_reach_the_number(finished: Path, rows: Path, tmp_path: Path) -> None:
    """With all else frozen the head for numbers learns the same whatever the classes' loss is."""
    heads = []
    for loss in ("cross_entropy", "focal"):
        more = ["--data.threshold=6", "--value.weight=1", f"--loss.name={loss}", "--trainer.max_epochs=2"]
        frozen = [f"--model.init_from={finished}", "--model.freeze=true", "--optimizer.schedule=none"]
        run = run_here(*of_rows(rows, tmp_path / loss, *more, *frozen, "--trainer.gradient_clip=0"))
        heads.append(torch.load(run.path / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"])
    assert torch.equal(heads[0]["model.value_head.weight"], heads[1]["model.value_head.weight"])
    assert not torch.equal(heads[0]["model.fc_out.weight"], heads[1]["model.fc_out.weight"])


def test_crystals_with_a_window(small_table: Path, tmp_path: Path) -> None:
    more = ["--data.target=size", "--data.window=3.8,5.6", "--loss.name=cross_entropy", "--value.weight=1"]
    run = run_here(*[word for word in options(small_table, tmp_path / "run", *more) if word != "--data.target=kind"])
    metrics = json.loads(run.test_metrics.read_text())["values"]
    assert set(metrics["numbers"]) == {"size"}
    assert set(metrics["average_precision"]) == {"class_head", "number", "mix"}
    mix = load_run(run.path, device="cpu").members[0].network.mix
    assert mix is not None
    assert mix.classes == (0, 1, 0)
    epochs = pd.read_csv(run.metrics)
    assert {"loss_value", "val_mae_size"} <= set(epochs)


def test_classes_without_a_number_have_auxiliary_ones_alone(small_table: Path, tmp_path: Path) -> None:
    more = ["--data.auxiliary=size", "--value.weight=1", "--loss.name=cross_entropy"]
    run = run_here(*options(small_table, tmp_path / "run", *more))
    metrics = json.loads(run.test_metrics.read_text())["values"]
    assert set(metrics) == {"numbers"}
    assert load_run(run.path, device="cpu").members[0].network.mix is None


def test_without_weight_nothing_is_predicted(small_table: Path, tmp_path: Path) -> None:
    run = run_here(*options(small_table, tmp_path / "run", "--data.auxiliary=size", "--value.weight=0"))
    assert "values" not in json.loads(run.test_metrics.read_text())
    assert load_run(run.path, device="cpu").members[0].network.model.value_head is None


def test_a_run_that_is_gone_on_with_ends_as_one_that_was_not(rows: Path, tmp_path: Path, monkeypatch) -> None:
    more = ["--data.threshold=6", "--value.weight=1", "--trainer.max_epochs=3"]
    whole = run_here(*of_rows(rows, tmp_path / "whole", *more))
    interrupted(monkeypatch, *of_rows(rows, tmp_path / "killed", *more))
    resume(tmp_path / "killed")
    assert (tmp_path / "killed" / "test_metrics.json").read_text() == whole.test_metrics.read_text()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--data.auxiliary=nothing"], "no column 'nothing'"),
        (["--data.auxiliary=strength"], "not the target, 'strength'"),
        (["--value.weight=-1"], r"--value\.weight is -1"),
        (["--value.transform=log"], "value.transform"),
        (["--data.auxiliary=x5", "--data.features=x0,x1"], None),
    ],
)
def test_what_is_refused_and_what_is_not(rows: Path, tmp_path: Path, more: list[str], said: str | None) -> None:
    argv = of_rows(rows, tmp_path / "run", "--data.threshold=6", "--value.weight=1", "--trainer.max_epochs=1", *more)
    if said is None:
        assert run_here(*argv).test_metrics.is_file()
        return
    with pytest.raises(InputError, match=said):
        run_here(*argv)
