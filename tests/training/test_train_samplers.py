"""Samplers by what is distinct: what a run draws, what its loss is told of it, and what is cut out."""

from __future__ import annotations

import json
import shutil
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
import torch
from torch import distributed
from train_cases import interrupted, options, run_here

from matcard.batch import standardised
from matcard.comparison.cells import run_network
from matcard.data.draws import POWERS, Distinct, draw_probabilities, unit
from matcard.data.read import divide, read_labelled
from matcard.errors import InputError, MatcardWarning
from matcard.evaluation.decision import Decision, DecisionOptions
from matcard.files import tuples
from matcard.report.run import write_report
from matcard.study.space import check_space, make_space
from matcard.training.batches import DataModule
from matcard.training.config import config_to_dict, parse_config
from matcard.training.finished import FinishedRun
from matcard.training.fit import build_module
from matcard.training.options import BY_CLASS
from matcard.training.run import resume

if TYPE_CHECKING:
    from pathlib import Path

KINDS = ["spread", "magnitude", "density", "neighbors", "formula"]


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 rows in two classes, the first row of class a 40 times over, a little moved."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 5))
    x = np.concatenate([x, x[:1] + 1e-3 * rng.normal(size=(40, 5))])
    frame = pd.DataFrame(x, columns=[f"x{k}" for k in range(5)])
    frame["kind"] = ["a" if k % 2 == 0 else "b" for k in range(60)] + ["a"] * 40
    frame["id"] = [f"r{k}" for k in range(100)]
    path = tmp_path_factory.mktemp("rows") / "rows.csv"
    frame.to_csv(path, index=False)
    return path


def batches(table: Path, run: Path, *more: str) -> DataModule:
    words = [f"--data.source={table}", "--data.target=kind", "--model.name=mlp", f"--run_dir={run}", *more]
    config = parse_config(words, prog="test", description="")
    return DataModule(divide(read_labelled(config.data), config.data, seed=0), config)


@pytest.mark.parametrize("kind", KINDS[:-1])
@pytest.mark.parametrize("by", ["all", "class"])
def test_rows_are_drawn_by_their_columns(copied: Path, tmp_path: Path, kind: str, by: str) -> None:
    data = batches(
        copied, tmp_path, f"--trainer.sampler={kind}", "--trainer.sampler_scale=20", f"--trainer.sampler_by={by}"
    )
    train, codes = data.parts["train"], data.codes[data.parts["train"]]
    points = standardised(data.set.samples.inputs[train])
    expected = draw_probabilities(
        kind,
        points=points,
        classes=codes if by == "class" else None,
        scale=20,
        length=unit(points),
    )
    np.testing.assert_allclose(data.draws, expected)
    counts = [len(train) * expected[codes == c].sum() for c in range(2)]
    np.testing.assert_allclose(data.drawn_counts, counts)


def test_the_loss_is_told_what_is_drawn(copied: Path, tmp_path: Path) -> None:
    more = ["--loss.name=logit_adjustment"]
    plain, drawn = (batches(copied, tmp_path, *more, f"--trainer.sampler={k}") for k in ("shuffle", "spread"))
    assert plain.drawn_counts.tolist() == plain.class_counts.tolist()
    assert drawn.drawn_counts[0] < 0.8 * drawn.class_counts[0]
    words = [f"--data.source={copied}", "--data.target=kind", "--model.name=mlp", *more, "--trainer.sampler=spread"]
    module = build_module(parse_config(words, prog="test", description=""), drawn)
    np.testing.assert_allclose(module.loss.class_counts.numpy(), drawn.drawn_counts, rtol=1e-5)


def test_a_run_by_crystals_and_one_that_is_gone_on_with(small_table: Path, tmp_path: Path, monkeypatch) -> None:
    more = ["--trainer.sampler=spread", "--trainer.max_epochs=3", "--loss.name=cross_entropy"]
    whole = run_here(*options(small_table, tmp_path / "whole", *more))
    interrupted(monkeypatch, *options(small_table, tmp_path / "killed", *more))
    resume(tmp_path / "killed")
    assert (tmp_path / "killed" / "metrics.csv").read_text() == whole.metrics.read_text()


def test_formulas_of_crystals(small_table: Path, tmp_path: Path) -> None:
    words = options(small_table, tmp_path / "run", "--trainer.sampler=formula")
    config = parse_config(words, prog="test", description="")
    data = DataModule(divide(read_labelled(config.data), config.data, seed=0), config)
    np.testing.assert_allclose(data.draws, 1 / len(data.parts["train"]))  # every formula once


def test_near_copies_are_cut_out_and_listed(copied: Path, tmp_path: Path) -> None:
    kept = batches(copied, tmp_path, "--data.near_copies=keep")
    with pytest.warns(MatcardWarning, match="drop makes 'a' the minority, not 'b'"):
        dropped = batches(copied, tmp_path, "--data.near_copies=drop")
    train = kept.parts["train"]
    points = standardised(kept.set.samples.inputs[train])
    radius = 0.1 * unit(points)
    expected: list[int] = []
    for k, row in enumerate(train):
        same = [points[list(train).index(j)] for j in expected if kept.codes[j] == kept.codes[row]]
        if all(float((points[k] - other).norm()) > radius for other in same):
            expected.append(int(row))
    assert dropped.parts["train"].tolist() == expected
    assert len(expected) < len(train) - 15
    assert set(dropped.set.split.cut) == set(train) - set(expected)
    for part in ("val", "test"):
        assert dropped.parts[part].tolist() == kept.parts[part].tolist()
    run = ["--data.near_copies=drop", "--trainer.max_epochs=1", "--report=false", f"--run_dir={tmp_path / 'run'}"]
    with pytest.warns(MatcardWarning, match="drop makes 'a' the minority"):
        path = run_here(f"--data.source={copied}", "--data.target=kind", "--model.name=mlp", *run).path
    assert len(json.loads((path / "split.json").read_text())["cut"]) == len(train) - len(expected)


def test_what_a_cut_of_near_copies_does_to_classes_is_told(copied: Path, tmp_path: Path) -> None:
    rows = pd.read_csv(copied)
    rows = pd.concat([rows, *[rows[rows["kind"] == "a"].iloc[:1]] * 400, rows[rows["kind"] == "a"]])
    rows = rows[(rows["kind"] == "b") | (np.arange(len(rows)) > 30)]
    rows["id"] = [f"r{k}" for k in range(len(rows))]
    rows.to_csv(tmp_path / "cut.csv", index=False)
    more = ["--data.near_copies=drop", "--data.split.kind=random"]
    with pytest.warns(MatcardWarning) as told:
        batches(tmp_path / "cut.csv", tmp_path, *more, "--data.near_copies_radius=50")
    texts = [str(warning.message) for warning in told]
    assert any("drop leaves 1 of 'a', 1 of 'b': a smaller --data.near_copies_radius" in text for text in texts)
    assert any("makes no class the minority, not 'b'" in text for text in texts)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--trainer.sampler=formula"], "'formula' needs the formula"),
        (["--trainer.sampler=spread", "--trainer.sampler_scale=0"], "sampler_scale is 0"),
        (["--data.near_copies_radius=-1"], "near_copies_radius is -1"),
    ],
)
def test_what_is_refused_of_rows(copied: Path, tmp_path: Path, more: list[str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        batches(copied, tmp_path, *more).train_dataloader()


@pytest.mark.parametrize("sampler", ["spread", "magnitude", "shuffle"])
def test_too_many_samples_are_refused_in_words_of_the_options(
    copied: Path, tmp_path: Path, sampler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("matcard.data.dataset.DENSE_LIMIT", 50)
    monkeypatch.setattr("matcard.data.dataset.SHARES_LIMIT", 1000 if sampler == "magnitude" else 20)
    said = {
        "spread": r"of 20 samples at most, and there are \d+ training rows: --data\.imbalance\.samples 20 takes",
        "magnitude": r"of 50 samples at most, and there are \d+ training rows: take --trainer\.sampler spread",
        "shuffle": r"of 20 samples at most",
    }
    how = "--data.near_copies=drop" if sampler == "shuffle" else f"--trainer.sampler={sampler}"
    with pytest.raises(InputError, match=said[sampler]):
        batches(copied, tmp_path, how).train_dataloader()


def test_rule_prior_takes_off_what_was_drawn(copied: Path, tmp_path: Path) -> None:
    words = [f"--data.source={copied}", "--data.target=kind", "--model.name=mlp", "--trainer.sampler=spread"]
    run = run_here(*words, "--decision.rule=prior", "--trainer.max_epochs=1", f"--run_dir={tmp_path / 'run'}")
    drawn = batches(copied, tmp_path, "--trainer.sampler=spread").drawn_counts
    chosen = Decision.load(run.decision)
    np.testing.assert_allclose(np.diag(chosen.gain), drawn.sum() / drawn / 2)
    assert FinishedRun(run.path).choose(DecisionOptions(rule="prior")) == chosen
    config = run.load_config()
    data = divide(read_labelled(config.data), config.data, seed=0)
    line = SimpleNamespace(stopping=False)
    of_cell = run_network(config_to_dict(config), data, tested=False, folder=tmp_path / "cell", line=line)
    assert of_cell["decision"]["gain"] == chosen.gain
    shutil.rmtree(run.path / "model")
    with pytest.raises(InputError, match=r"no model/model\.json, which says how many of each class an epoch drew"):
        FinishedRun(run.path).choose(DecisionOptions(rule="prior"))


def test_the_rarest_class_is_the_rarest_of_the_samples(copied: Path, tmp_path: Path) -> None:
    """Of 70 and 30 samples, of which the 70 are drawn less often."""
    words = [f"--data.source={copied}", "--data.target=kind", "--model.name=mlp", "--trainer.sampler=spread"]
    more = ["--decision.rule=best_f1", "--trainer.sampler_scale=3", "--trainer.max_epochs=1"]
    run = run_here(*words, *more, f"--run_dir={tmp_path / 'run'}")
    data = batches(copied, tmp_path, *more, "--trainer.sampler=spread")
    assert data.class_counts[0] > data.class_counts[1]
    assert "best F1 of b" in Decision.load(run.decision).rule


def test_formulas_of_compositions(tmp_path: Path) -> None:
    formulas = ["Fe2O3", "Fe4O6", "Fe2O3", "NaCl", "KCl", "KBr", "MgO", "CaO", "Al2O3", "SiO2"]
    frame = pd.DataFrame({"formula": formulas * 4, "kind": ["a", "b"] * 20})
    frame.to_csv(tmp_path / "table.csv", index=False)
    words = ["--data.kind=compositions", "--data.split.kind=random", "--trainer.sampler=formula"]
    data = batches(tmp_path / "table.csv", tmp_path, *words)
    train = data.parts["train"]
    reduced = np.array(["Fe2O3" if formulas[i % 10] == "Fe4O6" else formulas[i % 10] for i in train])
    weights = np.array([1 / (reduced == name).sum() for name in reduced])
    np.testing.assert_allclose(data.draws, weights / weights.sum())


def test_images_have_no_distances(tmp_path: Path) -> None:
    words = ["--config=digits_lt", "--trainer.sampler=spread", f"--run_dir={tmp_path / 'run'}"]
    with pytest.raises(
        InputError, match="'spread' needs numbers of each sample to take distances of: images have none"
    ):
        run_here(*words)


def test_effective_numbers_are_not_counted_twice(copied: Path, tmp_path: Path) -> None:
    words = [f"--data.source={copied}", "--data.target=kind", "--model.name=mlp", f"--run_dir={tmp_path / 'run'}"]
    with pytest.raises(
        InputError, match=r"effective_number with --trainer\.sampler spread: both count what is distinct"
    ):
        run_here(*words, "--loss.name=effective_number", "--trainer.sampler=spread")
    space = make_space({"trainer.sampler": {"choices": ["shuffle", "spread"]}})
    config = parse_config([*words, "--loss.name=effective_number"], prog="test", description="")
    with pytest.raises(InputError, match=r"the point trainer\.sampler spread is no valid configuration"):
        check_space(space, config_to_dict(config))


def test_what_looks_at_classes_alone_is_said_once() -> None:
    assert tuple(POWERS) == BY_CLASS


def draw_as_a_rank(rank: int, table: Path, folder: Path) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    try:
        data = batches(table, folder, "--trainer.sampler=spread", "--trainer.batch_size=8")
        data.trainer = SimpleNamespace(global_rank=distributed.get_rank(), world_size=distributed.get_world_size())
        loader, epochs = data.train_dataloader(), []
        for epoch in range(2):
            loader.batch_sampler.sampler.set_epoch(epoch)
            mine = [batch.index.tolist() for batch in loader]
            ranks = [None, None]
            distributed.all_gather_object(ranks, mine)
            epochs.append(ranks)
        (folder / f"{rank}.json").write_text(json.dumps({"draws": data.draws.tolist(), "epochs": epochs}))
    finally:
        distributed.destroy_process_group()


@pytest.mark.skipif(not distributed.is_available(), reason="this torch has no distributed package")
def test_two_processes_draw_the_batches_of_one(copied: Path, tmp_path: Path) -> None:
    torch.multiprocessing.spawn(draw_as_a_rank, (copied, tmp_path), nprocs=2)
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2))
    assert first == second
    alone = batches(copied, tmp_path, "--trainer.sampler=spread", "--trainer.batch_size=16")
    assert first["draws"] == alone.draws.tolist()
    loader = alone.train_dataloader()
    for epoch, ranks in enumerate(first["epochs"]):
        loader.batch_sampler.sampler.set_epoch(epoch)
        for together, *shares in zip((batch.index.tolist() for batch in loader), *ranks, strict=True):
            assert sorted(together) == sorted(shares[0] + shares[1])
    assert first["epochs"][0] != first["epochs"][1]


def test_a_class_that_would_never_be_drawn_is_refused(copied: Path, tmp_path: Path, monkeypatch) -> None:
    def one_class(*_: object, **given: object) -> np.ndarray:
        return np.eye(len(given["points"]))[0]  # the weights of a magnitude may all be 0 within a class

    monkeypatch.setattr("matcard.data.dataset.draw_probabilities", one_class)
    with pytest.raises(InputError, match=r"sampler magnitude draws no sample of class '.'"):
        _ = batches(copied, tmp_path, "--trainer.sampler=magnitude").draws


def test_what_is_distinct_is_shown_kept_and_told(copied: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    many = pd.read_csv(copied)
    many = pd.concat([many, *[many[many["kind"] == "a"].iloc[:1]] * 400])
    many["id"] = [f"r{k}" for k in range(len(many))]
    many.to_csv(tmp_path / "many.csv", index=False)
    words = [f"--data.source={tmp_path / 'many.csv'}", "--data.target=kind", "--model.name=mlp"]
    words += ["--data.split.kind=random", "--trainer.max_epochs=1"]
    with pytest.warns(MatcardWarning, match=r"class 'a': its \d+ rows count as about [\d.]+ distinct at scale 30"):
        run_here(*words, "--report=false", f"--run_dir={tmp_path / 'plain'}")
    capsys.readouterr()
    # No warning: the sampler sees to it.
    run = run_here(*words, "--trainer.sampler=spread", "--report=true", f"--run_dir={tmp_path / 'run'}")
    shown = capsys.readouterr().out
    table = [line.split() for line in shown.splitlines()]
    heading = next(row for row in table if row[:1] == ["class"])
    assert heading[-3:] == ["distinct", "share", "drawn"]
    kept = Distinct(**tuples(json.loads(run.distinct.read_text())))
    row = next(row for row in table if row[:1] == ["a"])
    assert float(row[-3]) == pytest.approx(kept.here[0], abs=0.06)
    assert kept.samples[0] > 5 * kept.here[0]
    assert float(row[-1].rstrip("%")) < 60 < float(row[-2].rstrip("%"))
    write_report(run.path)
    csv = pd.read_csv(run.path / "figures" / "class-counts.csv")
    np.testing.assert_allclose(csv["drawn"], FinishedRun(run.path).drawn)


def test_nothing_is_made_of_crystals_to_count_what_is_distinct(small_table: Path, tmp_path: Path) -> None:
    words = options(small_table, tmp_path / "run")
    for more, counted in (([], False), (["--trainer.sampler=formula"], False), (["--trainer.sampler=density"], True)):
        config = parse_config([*words, *more], prog="test", description="")
        data = DataModule(divide(read_labelled(config.data), config.data, seed=0), config)
        assert data.draws is None or len(data.draws)
        assert (data.distinct is not None) == counted
        assert ("distances" in data.set.__dict__) == counted
