"""Configurations: YAML under the command line, misspelt names, a loss of another kind."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys

import pytest
import yaml

from matcard.errors import InputError
from matcard.losses import ErrorLoss, Focal, LogitAdjustment, Reweight, make_options
from matcard.training.config import (
    config_from_dict,
    config_to_dict,
    flatten,
    option_kinds,
    option_types,
    overlaid,
    parse_config,
)
from matcard.training.options import Config


def parsed(*argv: str) -> Config:
    return parse_config(argv, prog="python -m matcard.train", description="")


def test_the_default_is_train_yaml():
    config = parsed()
    assert config.data.source == "perovskite_phases"
    loss = config.loss
    assert isinstance(loss, Reweight.options_class)
    assert (loss.name, loss.invariant, loss.scale) == ("reweight", "spread", 3.0)


def test_the_command_line_overrides_the_file(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump({"optimizer": {"lr": 0.5}, "trainer": {"batch_size": 7}, "loss": {"scale": 2}}))
    config = parsed("--config", str(file), "--optimizer.lr", "0.25", "--seed=4")
    assert (config.optimizer.lr, config.trainer.batch_size, config.seed) == (0.25, 7, 4)
    assert config.loss.scale == 2.0
    assert config.loss.invariant == "spread", "what the file does not name is as in train.yaml"


def test_a_loss_of_another_kind_sets_the_files_options_aside():
    assert parsed("--loss.name", "focal", "--loss.gamma", "1.5").loss == make_options("focal", gamma=1.5)


def test_a_loss_of_the_same_kind_keeps_them():
    loss = parsed("--loss.name=reweight", "--loss.invariant=magnitude").loss
    assert (loss.name, loss.invariant, loss.scale) == ("reweight", "magnitude", 3.0)


def test_a_base_is_a_loss_with_all_its_options(tmp_path):
    words = ["--loss.name=error", "--loss.combine=add", "--loss.base.name=logit_adjustment"]
    loss = parsed(*words, "--loss.base.tau", "0.5").loss
    assert loss == ErrorLoss(combine="add", base=LogitAdjustment(tau=0.5), class_counts=[1, 1]).options
    assert parsed("--loss.base.name=brier", "--loss.base.reduction=mean").loss.base.reduction == "mean"
    file = tmp_path / "mine.yaml"
    file.write_text("loss: {name: error, combine: add, base: {name: logit_adjustment, tau: 0.5}}")
    assert parsed("--config", str(file)).loss == loss
    # A part of a base is laid over it, a base of another name sets it aside, and so does a loss of another name.
    assert parsed("--config", str(file), "--loss.base.tau=2").loss.base == make_options("logit_adjustment", tau=2.0)
    assert parsed("--config", str(file), "--loss.base.name=focal").loss.base == Focal.options_class()
    assert parsed("--config", str(file), "--loss.name=triplet").loss.base.name == "cross_entropy"
    config = parsed("--config", str(file))
    assert config_from_dict(yaml.safe_load(yaml.safe_dump(config_to_dict(config)))) == config


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--loss.scal", "3"], ["--loss.scal", "loss.scale"]),
        (["--scale", "3"], ["--scale", "loss.scale"]),
        (["--loss.name", "reweigth"], ["reweigth", "reweight"]),
        (["--model.name", "cgcn"], ["cgcn", "cgcnn"]),
        (["--loss.name="], ["unknown loss ''"]),
        (["--loss.base.name="], ["unknown loss of single samples ''"]),
        (["--loss.name", "focal", "--loss.scale", "3"], ["loss.scale", "loss.gamma"]),
        (["--loss.base.name", "focl"], ["single samples", "focl", "did you mean focal"]),
        (["--loss.base.name", "triplet"], ["single samples", "triplet", "cross_entropy"]),
        (["--loss.base.name", "focal", "--loss.base.gama", "3"], ["--loss.base.gama", "did you mean loss.base.gamma"]),
        (
            ["--loss.base.name", "focal", "--loss.base.gamma", "-3"],
            ["gamma of loss 'focal' is -3", "a number of 0 or more"],
        ),
        (["--loss.base.name", "focal", "--loss.base.gamma", "x"], ["--loss.base.gamma", "float", "'x'"]),
        (["--loss.name", "focal", "--loss.base.name", "focal"], ["unknown option 'loss.base.name'", "loss.name"]),
        (["--loss.base", "focal"], ["--loss.base", "loss.base.name"]),
        (["--trainer.max_epochs", "many"], ["trainer.max_epochs", "int", "many"]),
        (["--trainer.max_epochs", "0"], ["trainer.max_epochs", "a whole number of 1 or more"]),
        (["--optimizer.lr", "-1"], ["optimizer.lr", "a number above 0"]),
        (["--optimizer.name", "rmsprop"], ["optimizer.name", "adamw"]),
        (["--trainer.accumulate", "4"], ["accumulate", "distinct", "batch_size"]),
        (["--config", "nothing.yaml"], ["nothing.yaml", "no such file", "digits_lt", "train"]),
        (["runs"], ["runs", "--help"]),
        (["--loss.scale", "learn"], ["scale", "descent"]),
        (["--data.threshold", "3", "--data.bins", "1,2"], ["threshold", "bins"]),
    ],
)
def test_bad_usage_says_what_was_expected(argv, words):
    with pytest.raises(InputError) as error:
        parsed(*argv)
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("- 1\n", "mapping"),
        ("a: [", "YAML"),
        ("trainer: {max_epoch: 3}\n", "trainer.max_epochs"),
        ("trainer: {max_epochs: many}\n", "trainer.max_epochs.*int.*many"),
        ("trainer: {max_epochs: null}\n", "trainer.max_epochs is null"),
        ("loss: {base: focal}\n", "option loss.base: expected a mapping with a name, found 'focal'"),
        ("loss: {base: {name: spread}}\n", "unknown loss of single samples 'spread'"),
        ("loss: {name: 3}\n", "option loss: expected a mapping with a name"),
        ("loss: spread\n", "option loss: expected a mapping with a name"),
        ("seed: 4294967296\n", "seed is 4294967296"),
    ],
)
def test_a_bad_file_is_named(tmp_path, text, word):
    file = tmp_path / "bad.yaml"
    file.write_text(text)
    with pytest.raises(InputError, match=word):
        parsed("--config", str(file))


def test_an_empty_section_says_nothing(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("trainer:\nmodel:\nloss:\ndata:\n  split:\n  target: null\n")
    assert parsed("--config", str(file)) == parsed()


def test_lists_need_no_brackets():
    assert parsed("--data.bins", "1,2.5,4").data.bins == [1.0, 2.5, 4.0]
    assert parsed("--data.bins=-1,2").data.bins == [-1.0, 2.0]
    assert parsed("--data.split.fractions", "0.5,0.25,0.25").data.split.fractions == (0.5, 0.25, 0.25)


@pytest.mark.parametrize(
    "names",
    [["NO", "Na2O"], ["No"], ["inf", "x"], ["1", "2"], ["a b", "c: d"], ["null", "true"], ["007"], ["1e3", "[x"]],
)
def test_text_in_a_list_stays_text(names, tmp_path):
    assert parsed("--data.features", ",".join(names)).data.features == names
    assert parsed(f"--data.features={json.dumps(names)}").data.features == names
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump({"data": {"features": names}}))
    assert parsed("--config", str(file)).data.features == names


@pytest.mark.parametrize("name", ["No", "inf", "NO", "1e3", "1", "a: b", "{a", "[x]", "true", "2024-05-01"])
def test_text_stays_text(name, tmp_path):
    assert parsed("--data.target", name).data.target == name
    assert parsed(f"--data.target={name}").data.target == name


def test_a_file_is_read_by_the_rules_of_yaml_1_2(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("data: {features: [NO, Na2O, off, 1, 2024-05-01, 1_000], target: No, threshold: 1e-3}\nseed: 7\n")
    config = parsed("--config", str(file))
    assert config.data.features == ["NO", "Na2O", "off", "1", "2024-05-01", "1_000"]
    assert (config.data.target, config.data.threshold, config.seed) == ("No", 1e-3, 7)
    assert config_from_dict(yaml.safe_load(yaml.safe_dump(config_to_dict(config)))) == config


def test_infinity_needs_no_point():
    assert parsed("--data.bins", "inf,2").data.bins == [float("inf"), 2.0]
    assert parsed("--loss.name=error", "--loss.invariant=spread", "--loss.order", "inf").loss.order == float("inf")


def test_a_configuration_survives_the_file():
    config = parsed("--data.bins", "1,2", "--data.split.folds", "5", "--data.split.fold", "2", "--model.width", "32")
    text = yaml.safe_dump(config_to_dict(config))
    assert config_from_dict(yaml.safe_load(text)) == config


def test_every_option_survives_the_command_line():
    config = parsed("--loss.name", "per_class", "--loss.base.name", "ldam")
    values = flatten(config_to_dict(config))
    kinds = option_kinds(config_to_dict(config))
    assert set(values) == set(dict(option_types(Config, kinds)))
    argv = [
        f"--{name}={yaml.safe_dump(value, default_flow_style=True).splitlines()[0]}" for name, value in values.items()
    ]
    assert parsed(*argv) == config


def test_overlaid_merges_what_is_of_one_kind():
    base = {"loss": {"name": "error", "scale": 3}, "seed": 1}
    assert overlaid(base, {"loss": {"order": 2}}) == {"loss": {"name": "error", "scale": 3, "order": 2}, "seed": 1}
    assert overlaid(base, {"loss": {"name": "ce"}})["loss"] == {"name": "ce"}
    assert base["loss"] == {"name": "error", "scale": 3}


def test_options_load_no_more_than_torch():
    code = (
        "import sys, matcard.training.config as c; c.parse_config(['--seed', '1'], prog='p', description='');"
        "heavy = {'torch_geometric', 'lightning', 'sklearn'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("option", ["--run_dir", "--resume"])
def test_a_directory_is_refused_before_lightning_loads(option, tmp_path):
    (tmp_path / "config.yaml").write_text("{}")
    (tmp_path / "test_metrics.json").write_text("{}")
    code = (
        "import sys, matcard.train as t\n"
        "try: t.main(sys.argv[1:])\n"
        "except t.InputError as error: print(error)\n"
        "assert not {'lightning', 'matplotlib'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, option, str(tmp_path)], capture_output=True, text=True)
    assert ("not empty" if option == "--run_dir" else "is finished") in done.stdout, done.stderr
    assert done.returncode == 0, done.stderr


def test_help_names_every_option():
    done = subprocess.run([sys.executable, "-m", "matcard.train", "--help"], capture_output=True, text=True, check=True)
    for field in dataclasses.fields(Config):
        assert f"--{field.name}" in done.stdout
    assert "Learning rate at its highest" in done.stdout


def test_a_file_of_the_user_is_not_taken_for_the_defaults(tmp_path, monkeypatch):
    (tmp_path / "train.yaml").write_text("seed: 77")
    monkeypatch.chdir(tmp_path)
    assert parsed().seed == 0
    assert parsed("--config", "train.yaml").seed == 77, "it was asked for"
    assert parsed("--config", "digits_lt").data.source == "digits"
    with pytest.raises(InputError, match=r"--config digits_it: no such file; did you mean digits_lt\?"):
        parsed("--config", "digits_it")
