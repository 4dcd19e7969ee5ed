"""`python -m matcard.evaluate`: the test figures again, and a new labelled set by the run's own classes."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from prediction_cases import as_row, crystals
from sklearn.metrics import balanced_accuracy_score, f1_score

import matcard
from matcard.cli import run_command
from matcard.crystals.read import read_crystals
from matcard.data import crystals as crystal_kind
from matcard.data import sources
from matcard.errors import InputError, MatcardWarning
from matcard.evaluate import folder_of, main, parse_prior
from matcard.evaluation.calibration import with_priors
from matcard.evaluation.decision import Decision

KINDS = ["cesiumchloride", "rocksalt", "zincblende"]


def write(path, rows):
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def new_rows(k):
    """Rows of crystals that are 2 % larger, under other ids."""
    rows = []
    for atoms in crystals()[:k]:
        atoms.set_cell(atoms.cell * 1.02, scale_atoms=True)
        rows.append({**as_row(atoms), "id": f"new-{atoms.info['id']}"})
    return rows


def evaluate(run, source, out, *more):
    main([str(run), f"--data.source={source}", "-o", str(out), "--jobs=1", "--device=cpu", *more])
    return json.loads((out / "metrics.json").read_text()), pd.read_parquet(out / "predictions.parquet")


@pytest.mark.filterwarnings("ignore:of .* crystals:matcard.errors.MatcardWarning")
def test_a_new_set_is_scored_at_argmax_and_at_the_decision(trained, tmp_path, capsys, drawn):
    rows = new_rows(40)
    metrics, table = evaluate(trained, write(tmp_path / "new.jsonl", rows), tmp_path / "out")
    assert table["id"].tolist() == [row["id"] for row in rows]
    assert table["target"].tolist() == [row["kind"] for row in rows]
    for found, column in ((metrics, "predicted_argmax"), (metrics["at_decision"], "predicted")):
        assert found["macro_f1"] == pytest.approx(f1_score(table["target"], table[column], average="macro"))
        assert found["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(table["target"], table[column]))
    assert metrics["at_decision"]["rule"] == "best macro_f1 on validation"
    low, high = metrics["intervals"]["macro_f1"]
    assert low <= metrics["macro_f1"] <= high
    assert metrics["left_out"] == {"malformed": 0, "unlabelled": 0, "unknown": {}}
    said = capsys.readouterr().out
    assert "Recall per class" in said
    assert "Class shares" in said
    for name in ("confusion.svg", "recall.svg", "precision_recall.svg", "reliability.svg", "left_out.csv"):
        assert (tmp_path / "out" / name).stat().st_size > 0


@pytest.mark.filterwarnings("ignore:of .* crystals:matcard.errors.MatcardWarning")
def test_rows_that_are_not_used_are_listed(trained, tmp_path):
    rows = new_rows(20)
    rows[2]["kind"] = None
    rows[3]["structure"]["sites"] = []
    rows[5]["kind"] = "wurtzite"
    source = write(tmp_path / "new.jsonl", rows)
    with pytest.raises(InputError, match=r"classes that .* does not know: wurtzite \(1\); .*--leave-out-unknown"):
        evaluate(trained, source, tmp_path / "out")
    metrics, table = evaluate(trained, source, tmp_path / "out", "--leave-out-unknown")
    assert metrics["left_out"] == {"malformed": 1, "unlabelled": 1, "unknown": {"wurtzite": 1}}
    left = pd.read_csv(tmp_path / "out" / "left_out.csv", keep_default_na=False).set_index("id")
    assert set(left.index) == {"new-c2", "new-c3", "new-c5"}
    assert left.loc["new-c5", "class"] == "wurtzite"
    assert left.loc["new-c2", "reason"] == "kind is missing"
    assert set(left.index).isdisjoint(table["id"])
    assert metrics["n"] == 17


@pytest.mark.filterwarnings("ignore:of .* crystals:matcard.errors.MatcardWarning")
def test_crystals_that_make_no_graph_are_listed_too(trained, tmp_path, capsys, monkeypatch):
    dataset = crystal_kind.CrystalKind.dataset

    def refused(self, inputs, targets, **how):
        if "new-c4" in inputs.ids:
            raise InputError("no graph, for a test")
        return dataset(self, inputs, targets, **how)

    monkeypatch.setattr(crystal_kind.CrystalKind, "dataset", refused)
    rows = new_rows(12)
    rows[2]["kind"] = None
    source = write(tmp_path / "new.jsonl", rows)
    metrics, table = evaluate(trained, source, tmp_path / "out")
    assert metrics["left_out"] == {"malformed": 1, "unlabelled": 1, "unknown": {}}
    assert "1 malformed, 1 without a label" in capsys.readouterr().out
    left = pd.read_csv(tmp_path / "out" / "left_out.csv", keep_default_na=False)
    assert list(left) == ["id", "where", "reason", "class"]
    assert left["id"].tolist() == ["new-c2", "new-c4"]
    assert left["class"].tolist() == ["", rows[4]["kind"]]
    assert left["where"].tolist() == ["new.jsonl line 3", "new.jsonl line 5"]
    assert left["reason"].tolist() == ["kind is missing", "no graph, for a test"]
    assert table.set_index("id")["error"].dropna().to_dict() == {"new-c4": "no graph, for a test"}


def test_crystals_that_stood_in_training_are_told(trained, source, tmp_path):
    split = json.loads((trained / "split.json").read_text())
    with pytest.warns(MatcardWarning, match=rf"60 crystals {len(split['train'])} by id and \d+ by formula stood in"):
        metrics, _ = evaluate(trained, source, tmp_path / "out")
    assert metrics["overlap"]["ids"] == len(split["train"])
    assert len(split["train"]) <= metrics["overlap"]["formulas"] < 60


def test_without_the_list_of_the_training_part_it_says_so(trained, tmp_path, capsys):
    folder = shutil.copytree(trained / "model", tmp_path / "model")
    (folder / "training.json").unlink()
    metrics, _ = evaluate(folder, write(tmp_path / "new.jsonl", new_rows(6)), tmp_path / "out")
    assert metrics["overlap"] is None
    assert "training.json is missing" in capsys.readouterr().out


@pytest.fixture
def shifted(tmp_path):
    """Four hundred crystals, nearly all of them the class that is rare in training."""
    rows = [row for row in new_rows(60) if row["kind"] == "zincblende"]
    rows = [{**row, "id": f"{row['id']}-{k}"} for k in range(8) for row in rows]
    return write(tmp_path / "shifted.jsonl", [*rows, *new_rows(12)])


@pytest.mark.filterwarnings("ignore:of .* crystals:matcard.errors.MatcardWarning")
def test_shares_that_differ_are_told_and_corrected(trained, shifted, tmp_path):
    with pytest.warns(MatcardWarning, match=r"total variation 0\.\d+, chi-square .* --prior estimate"):
        plain, table = evaluate(trained, shifted, tmp_path / "plain")
    counts = table["target"].value_counts().reindex(KINDS, fill_value=0).to_numpy()
    train = np.array(matcard.load_run(trained, device="cpu").description.class_counts)
    assert plain["shift"]["total_variation"] == pytest.approx(
        abs(counts / counts.sum() - train / train.sum()).sum() / 2
    )
    assert "corrected" not in plain

    with pytest.warns(MatcardWarning, match="class shares are not those of training") as told:
        corrected, _ = evaluate(trained, shifted, tmp_path / "labels", "--prior", "labels")
    assert not any("--prior estimate" in str(warning.message) for warning in told)
    run = matcard.load_run(trained, device="cpu")
    probabilities = run.description.bias_corrected.apply(table[[f"prob_{name}" for name in KINDS]].to_numpy())
    best = np.array(KINDS)[with_priors(probabilities, train, counts).argmax(axis=1)]
    assert corrected["corrected"]["accuracy"] == pytest.approx((best == table["target"]).mean())
    assert corrected["corrected"]["shares"]["zincblende"] == pytest.approx(counts[2] / counts.sum())
    assert corrected["macro_f1"] == pytest.approx(plain["macro_f1"])


@pytest.mark.filterwarnings("ignore:.*crystals|the class shares:matcard.errors.MatcardWarning")
def test_given_and_estimated_shares(trained, shifted, tmp_path):
    given, _ = evaluate(trained, shifted, tmp_path / "given", "--prior", "1,2,7")
    assert given["corrected"]["shares"] == pytest.approx(dict(zip(KINDS, (0.1, 0.2, 0.7), strict=True)))
    estimated, _ = evaluate(trained, shifted, tmp_path / "estimated", "--prior", "estimate")
    assert sum(estimated["corrected"]["shares"].values()) == pytest.approx(1.0)
    with pytest.raises(InputError, match="--prior has 2 numbers for 3 classes"):
        evaluate(trained, shifted, tmp_path / "wrong", "--prior", "0.5,0.5")


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("new.csv", "new"),
        ("a/v1.2.json.gz", "v1.2"),
        ("v1.3", "v1.3"),
        ("matbench_mp_gap", "matbench_mp_gap"),
        (".", "v1.3"),
    ],
)
def test_sets_do_not_share_a_folder(source, name, tmp_path, monkeypatch):
    (tmp_path / "v1.3").mkdir()
    monkeypatch.chdir(tmp_path / "v1.3" if source == "." else tmp_path)
    assert folder_of(tmp_path, source) == tmp_path / "evaluations" / name


def test_an_evaluation_is_not_written_over(trained, tmp_path):
    (tmp_path / "evaluations" / "new").mkdir(parents=True)
    (tmp_path / "evaluations" / "new-2").mkdir()
    assert folder_of(tmp_path, "new.csv") == tmp_path / "evaluations" / "new-3"
    (tmp_path / "metrics.json").write_text("{}")
    with pytest.raises(InputError, match="holds an evaluation already: name another folder"):
        evaluate(trained, "new.csv", tmp_path)
    assert (tmp_path / "metrics.json").read_text() == "{}"


@pytest.mark.parametrize("text", ["often", "0.5", "-1,2", "0,0", "nan,1", "1,inf", ""])
def test_priors_that_are_none(text):
    with pytest.raises(InputError, match="expected estimate, labels, or a share for each class"):
        parse_prior(text, KINDS)


def test_the_test_figures_are_shown_as_they_were_measured(trained, capsys):
    before = (trained / "test_metrics.json").read_text()
    main([str(trained)])
    said = capsys.readouterr().out
    metrics = json.loads(before)
    assert "as it was measured once" in said
    assert f"{metrics['macro_f1']:.3f}" in said
    assert f"temperature {metrics['calibrated']['temperature']:.2f}" in said
    assert (trained / "test_metrics.json").read_text() == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere"], "nowhere has no test_metrics.json"),
        (["nowhere", "--data.source=x"], "nowhere is no directory"),
        (["RUN", "--data.source=nothing.csv"], "neither a file or folder nor the name of a data set"),
        (["RUN", "--data.source=SOURCE", "--data.target=colour"], "has no column 'colour'"),
        (["RUN", "--data.source=SOURCE", "--prior=x"], "--prior x"),
        (["RUN", "--data.source=SOURCE", "--prior=0.5,0.5"], "--prior has 2 numbers for 3 classes"),
        (["RUN", "--prior=estimate"], "--prior goes with a labelled set"),
        (["RUN", "--data.target=kind"], "--data.target goes with a labelled set"),
        (["RUN", "--save"], "--decision.rule"),
        (["RUN", "--decision.target=0.9"], "--decision.target goes with a rule"),
        (["RUN", "--decision.rule=target_recall"], "--decision.target is needed by"),
        (["RUN", "--decision.rule=target_precision", "--decision.target=2"], "a number in (0, 1]"),
        (["RUN", "--decision.rule=prior", "--decision.shares=a"], "--decision.shares a"),
        (["RUN", "--decision.rule=best_f1", "--decision.positive=salt"], "--decision.positive 'salt'"),
    ],
)
def test_bad_usage(trained, source, words, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = [word.replace("RUN", str(trained)).replace("SOURCE", str(source)) for word in words]
    with pytest.raises(SystemExit) as stopped:
        run_command(main, words)
    assert stopped.value.code == 2
    assert said in capsys.readouterr().err


def test_a_set_of_foreign_classes_only(trained, tmp_path):
    rows = [{**row, "kind": "other"} for row in new_rows(3)]
    with pytest.raises(InputError, match="has no sample with a class of"):
        evaluate(trained, write(tmp_path / "new.jsonl", rows), tmp_path / "out", "--leave-out-unknown")


def test_numbers_are_cut_as_in_training(source, tmp_path):
    from prediction_cases import train_small

    rows = [{**as_row(atoms), "volume": atoms.get_volume()} for atoms in crystals()]
    path = train_small(
        write(tmp_path / "numbers.jsonl", rows), tmp_path / "run", "--data.target=volume", "--data.threshold=52",
        "--trainer.max_epochs=1", seed=0,
    )  # fmt: skip
    few = [row for row in rows if row["volume"] >= 52][:5]  # of one class alone, which training would refuse
    with pytest.warns(MatcardWarning):
        metrics, table = evaluate(path, write(tmp_path / "new.jsonl", few), tmp_path / "out")
    assert table["target"].unique().tolist() == ["volume >= 52"]
    assert metrics["recall"]["volume < 52"]["value"] is None
    assert metrics["roc_auc"] is None


def test_another_rule_is_chosen_on_validation_and_kept_only_when_asked(trained, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    names = ("decision.json", "model/model.json", "predictions.parquet", "test_metrics.json")
    before = {name: (run / name).read_bytes() for name in names}
    words = [str(run), "--decision.rule=target_recall", "--decision.target=0.9", "--decision.positive=zincblende"]
    main(words)
    said = capsys.readouterr().out
    assert "recall of zincblende >= 0.9 on validation" in said
    assert "--save" in said
    assert {name: (run / name).read_bytes() for name in names} == before
    old = json.loads((run / "test_metrics.json").read_text())

    main([*words, "--save"])
    assert "the test part" in capsys.readouterr().out
    decision = Decision.load(run / "decision.json")
    table = pd.read_parquet(run / "predictions.parquet")
    columns = [f"prob_{name}" for name in KINDS]
    expected = np.array(KINDS)[decision.apply(table[columns].to_numpy())]
    assert table["predicted_at_decision"].tolist() == expected.tolist()
    validation = table[(table["split"] == "val") & (table["target"] == "zincblende")]
    assert (validation["predicted_at_decision"] == "zincblende").mean() >= 0.9
    assert matcard.load_run(run, device="cpu").description.decision == decision
    new = json.loads((run / "test_metrics.json").read_text())
    test = table[table["split"] == "test"]
    assert new["at_decision"]["macro_f1"] == pytest.approx(
        f1_score(test["target"], test["predicted_at_decision"], average="macro")
    )
    assert new["at_decision"]["rule"] == decision.rule
    assert {**new, "at_decision": None} == {**old, "at_decision": None}


@pytest.mark.filterwarnings("ignore:of .* crystals:matcard.errors.MatcardWarning")
def test_a_new_set_at_another_rule(trained, tmp_path):
    metrics, table = evaluate(
        trained, write(tmp_path / "n.jsonl", new_rows(9)), tmp_path / "o", "--decision.rule=argmax"
    )
    assert metrics["at_decision"]["rule"] == "argmax"
    assert (table["predicted"] == table["predicted_argmax"]).all()
    assert Decision.load(trained / "decision.json").rule != "argmax"


def test_a_model_folder_alone_has_no_scores_to_choose_a_rule_on(trained):
    with pytest.raises(InputError, match="not the directory of a run"):
        main([str(trained / "model"), "--decision.rule=argmax"])


@pytest.mark.filterwarnings("ignore:of .* crystals:matcard.errors.MatcardWarning")
def test_a_card_is_read_with_the_options_that_are_given(trained, tmp_path, monkeypatch, drawn):
    asked = {}

    def load_crystals(card, **given):
        asked.update(given)
        return read_crystals(write(tmp_path / "new.jsonl", new_rows(9)))

    monkeypatch.setattr(sources, "load_crystals", load_crystals)
    with pytest.warns(
        MatcardWarning, match=r"--data.id_column plays no part: perovskite_phases holds crystals of a card"
    ):
        evaluate(trained, "perovskite_phases", tmp_path / "out", "--data.target=kind", "--data.id_column=name")
    assert callable(asked["progress"])


@pytest.mark.filterwarnings("ignore:of .* crystals:matcard.errors.MatcardWarning")
def test_lists_in_messages_end_somewhere(trained, tmp_path):
    rows = new_rows(40)
    for k, row in enumerate(rows):
        row["kind"] = f"class {k}"
    with pytest.raises(InputError) as refused:
        evaluate(trained, write(tmp_path / "new.jsonl", rows), tmp_path / "out")
    assert "class 5 (1) and 34 more; it knows" in str(refused.value)
    assert len(str(refused.value)) < 1000
