"""Search spaces: bad ones are refused with the nearest names, good ones set what they say."""

from __future__ import annotations

import math
from pathlib import Path

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from matcard.errors import InputError
from matcard.files import resource_dir
from matcard.study.settings import read_entries, trial_settings
from matcard.study.space import Parameter, check_space, make_space
from matcard.training.config import (
    config_from_dict,
    config_to_dict,
    flatten,
    names_in,
    overlaid,
    read_default,
)

SHIPPED = names_in(resource_dir("configs") / "tune")
LOG = {"type": "float", "low": 0.1, "high": 10, "log": True}


def base(**config):
    return config_to_dict(config_from_dict(overlaid(read_default(), config)))


def checked(entries, **config):
    space = make_space(entries)
    check_space(space, base(**config))
    return space


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_spaces_are_valid_and_say_what_they_are_for(name):
    entries = read_entries(name)
    checked(entries, **entries.get("config", {}))
    text = (resource_dir("configs") / "tune" / f"{name}.yaml").read_text()
    assert text.startswith("#")
    assert "loss.lambda_base:" not in text.replace("loss.combine: divide, loss.lambda_base: 1.0}", "")


@pytest.mark.parametrize("name", sorted(set(SHIPPED) - {"rivals"}))
def test_the_defaults_are_a_point_of_the_shipped_spaces(name):
    entries = read_entries(name)
    start = base(**entries.get("config", {}))
    space = make_space(entries)
    point = space.point_of(start)
    assert point is not None
    assert space.apply(point, start) == start


def test_the_defaults_are_no_point_of_the_rivals():
    assert make_space(read_entries("rivals")).point_of(base()) is None


def test_the_shipped_training_of_a_trial_states_its_epochs():
    epochs = trial_settings("short")["trainer"]["max_epochs"]
    text = (resource_dir("configs") / "tune" / "trial" / "short.yaml").read_text()
    assert f"{epochs} epochs" in text
    assert trial_settings("full") == {}


BAD = [
    ({"loss.scal": LOG}, ["loss.scal", "loss.scale"]),
    ({"scale": LOG}, ["'scale'", "loss.scale"]),
    ({"loss.gama": LOG, "loss.name": {"choices": ["focal", "error"]}}, ["loss.gama", "loss.gamma"]),
    ({"model.head": LOG, "model.name": {"choices": ["transformer", "cgcnn"]}}, ["model.head", "model.heads"]),
    ({"loss.scale": {**LOG, "low": 10, "high": 1}}, ["loss.scale", "low=10, high=1"]),
    ({"loss.scale": {**LOG, "low": 10}}, ["loss.scale", "one value", "low below high"]),
    ({"loss.scale": {"type": "float", "low": 1}}, ["high", "missing"]),
    ({"loss.scale": {**LOG, "low": 0}}, ["`low > 0`", "log"]),
    ({"loss.scale": {**LOG, "step": 1}}, ["step", "log"]),
    ({"loss.scale": {"type": "float", "low": 1, "high": 2, "step": 3}}, ["one value", "no step longer"]),
    ({"loss.scale": {"type": "float", "low": 1, "high": 2, "step": -1}}, ["loss.scale", "`step > 0`"]),
    ({"loss.scale": {**LOG, "low": "small"}}, ["low", "'small'", "number"]),
    ({"loss.scale": {**LOG, "log": "yes please"}}, ["log", "true or false"]),
    ({"loss.scale": {**LOG, "lwo": 1}}, ["lwo", "low"]),
    ({"loss.scale": {"type": "flaot", "low": 1, "high": 2}}, ["flaot", "float"]),
    ({"loss.scale": 3}, ["loss.scale", "3", "low"]),
    ({"loss.scale": {"choices": []}}, ["choices", "[]"]),
    ({"loss.scale": {"choices": [1.0, 1.0]}}, ["same choice"]),
    ({"loss.scale": {**LOG, "points": 1}}, ["points", "2 or more"]),
    ({"trainer.batch_size": {"type": "float", "low": 8, "high": 64}}, ["batch_size", "a whole number", "8.0"]),
    ({"model.width": {"type": "int", "low": 8.5, "high": 64}}, ["low", "8.5", "whole"]),
    ({"optimizer.name": {"choices": ["adam", "rmsprop"]}}, ["rmsprop", "adamw"]),
    ({"loss.invariant": {"choices": ["sprd"]}}, ["sprd", "magnitude, spread"]),
    ({"loss.name": {"choices": ["eror"]}}, ["eror", "error"]),
    ({"loss.base.name": {"choices": ["error"]}}, ["single samples", "'error'", "focal"]),
    ({"loss.base.gama": LOG, "loss.base.name": {"choices": ["focal"]}}, ["loss.base.gama", "loss.base.gamma"]),
    ({"trainer.deterministic": {"choices": [1, 0]}}, ["deterministic", "expected bool"]),
    ({"loss.scale": {**LOG, "when": {"loss.invarant": ["spread"]}}}, ["loss.invarant", "loss.invariant"]),
    ({"loss.scale": {**LOG, "when": ["add"]}}, ["when", "mapping"]),
    (
        {"loss.scale": {**LOG, "when": {"loss.invariant": "magnitude"}}},
        ["never searched", "loss.invariant is magnitude"],
    ),
    ({"loss.scale": {"choices": ["median", "auto"]}}, ["no valid configuration", "learned by descent", "when"]),
    ({"optimizer.lr": {"type": "float", "low": -1, "high": 1}}, ["optimizer.lr", "above 0"]),
    ({"form": {"choices": {"a": {"loss.scal": 1}}}}, ["form", "loss.scal", "loss.scale"]),
    ({"form": {"choices": {"a": 3}}}, ["form, a", "3"]),
    ({"loss.p": {"choices": {"a": {"loss.p": 1.0}}}}, ["name of their own"]),
    ({"loss.p": {"choices": [1.0, 2.0]}, "form": {"choices": {"a": {"loss.p": 1.0}}}}, ["both set loss.p"]),
    ({"data.bins": {"choices": [[1, 2], [3]]}}, ["plain value", "choices"]),
    ({}, ["searches nothing"]),
]


@pytest.mark.parametrize(("entries", "words"), BAD, ids=[" ".join(words) for _, words in BAD])
def test_a_bad_space_is_refused(entries, words):
    with pytest.raises(InputError) as error:
        checked(entries)
    for word in words:
        assert word in str(error.value)


def test_conditions_in_a_circle_are_refused():
    with pytest.raises(InputError, match=r"circle.*optimizer"):
        make_space(
            {
                "optimizer.lr": {**LOG, "when": {"optimizer.momentum": [0.9]}},
                "optimizer.momentum": {"choices": [0.9, 0.8], "when": {"optimizer.lr": [1]}},
            }
        )


def test_unknown_spaces_are_refused_with_the_nearest(tmp_path):
    with pytest.raises(InputError, match=r"rival.*rivals"):
        read_entries("rival")
    file = tmp_path / "mine.yaml"
    file.write_text("- 1")
    with pytest.raises(InputError, match=r"mine\.yaml.*mapping"):
        read_entries(str(file))


def test_numbers_that_yaml_takes_for_texts_are_numbers(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(
        "optimizer.lr: {type: float, low: 1e-4, high: 1e-2, log: true}\nloss.scale: {choices: [1e-1, 1e1]}\n"
    )
    lr, scale = checked(read_entries(str(file))).parameters
    assert (lr.values.low, lr.values.high) == (1e-4, 1e-2)
    assert scale.choices == (0.1, 10.0)


def test_an_option_that_the_chosen_loss_lacks_is_not_searched():
    space = checked(
        {"loss.gamma": {"type": "float", "low": 1, "high": 2}, "loss.name": {"choices": ["focal", "brier"]}}
    )
    chosen = {"loss.name": "focal", "loss.gamma": 1.5}
    point, values = space.walk(base(), lambda p: chosen[p.name])
    assert point == chosen
    assert values["loss"] == {"name": "focal", "gamma": 1.5}, "options of the default are set aside"
    point, values = space.walk(base(), lambda p: {**chosen, "loss.name": "brier"}[p.name])
    assert point == {"loss.name": "brier"}
    assert config_from_dict(values).loss.name == "brier"


def test_alternatives_set_several_options_and_conditions_may_name_either():
    entries = {
        "form": {
            "choices": {
                "weights": {"loss.name": "reweight"},
                "sum": {"loss.name": "error", "loss.combine": "add"},
            }
        },
        "loss.lambda_invariant": {**LOG, "when": {"form": "sum"}},
        "loss.base.name": {"choices": ["focal", "brier"], "when": {"loss.combine": ["add"], "loss.name": ["error"]}},
        "loss.base.gamma": LOG,
    }
    space = checked(entries)
    chosen = {"form": "sum", "loss.lambda_invariant": 0.5, "loss.base.name": "focal", "loss.base.gamma": 1.5}
    point, values = space.walk(base(), lambda p: chosen[p.name])
    assert point == chosen
    config = config_from_dict(values)
    assert (config.loss.name, config.loss.combine) == ("error", "add")
    assert (config.loss.base.name, config.loss.base.gamma) == ("focal", 1.5)
    without = space.walk(base(), lambda p: {**chosen, "loss.base.name": "brier"}[p.name])[0]
    assert "loss.base.gamma" not in without
    assert space.walk(base(), lambda p: {**chosen, "form": "weights"}[p.name])[0] == {"form": "weights"}


def test_a_trial_of_optuna_chooses_what_the_space_says():
    space = checked(read_entries("general"))
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(0))
    for _ in range(20):
        trial = study.ask()
        config = config_from_dict(space.suggest(trial, base()))
        assert 3e-4 <= config.optimizer.lr <= 2e-2
        assert config.trainer.batch_size in (32, 64, 128, 256)
        assert isinstance(config.model.convolutions, int)
        given = flatten(config_to_dict(config))
        assert all(given[name] == value for name, value in trial.params.items())


def test_a_configuration_outside_the_space_has_no_point():
    space = checked({"loss.scale": LOG, "optimizer.lr": {"type": "float", "low": 0.001, "high": 0.01, "step": 0.001}})
    assert space.point_of(base()) == {"loss.scale": 3.0, "optimizer.lr": 0.003}
    assert space.point_of(base(loss={"scale": "median"})) is None
    assert space.point_of(base(loss={"scale": 11.0})) is None
    assert space.point_of(base(optimizer={"lr": 0.0035})) is None, "between two steps"


def test_a_grid_has_every_point_once_and_nothing_that_is_not_searched():
    entries = {
        "loss.name": {"choices": ["focal", "brier"]},
        "loss.gamma": {"type": "float", "low": 1, "high": 3, "points": 3},
        "model.convolutions": {"type": "int", "low": 1, "high": 2},
    }
    points = checked(entries).grid(base())
    assert len(points) == 3 * 2 + 2
    assert {p["loss.gamma"] for p in points if p["loss.name"] == "focal"} == {1.0, 2.0, 3.0}
    assert all("loss.gamma" not in p for p in points if p["loss.name"] == "brier")
    assert len({repr(p) for p in points}) == len(points)


def test_a_grid_of_too_many_points_is_refused():
    with pytest.raises(InputError, match=r"more than.*points"):
        make_space(read_entries("general")).grid(base())


ranges = st.tuples(st.floats(1e-3, 1e3), st.floats(1.01, 1e3)).map(lambda pair: (pair[0], pair[0] * pair[1]))


@settings(deadline=None, max_examples=30)
@given(ranges, st.booleans())
def test_values_of_a_grid_lie_in_their_range_and_grow(ends, log):
    values = Parameter("loss.scale", FloatDistribution(*ends, log=log), points=3).grid()
    assert values == sorted(values)
    assert values[0] == pytest.approx(ends[0])
    assert values[1] == pytest.approx(math.sqrt(ends[0] * ends[1]) if log else sum(ends) / 2)
    assert values[2] == pytest.approx(ends[1])
    assert all(ends[0] <= value <= ends[1] for value in values)


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 50), st.integers(1, 60), st.booleans(), st.integers(2, 100))
def test_whole_numbers_stay_whole(low, width, log, points):
    values = Parameter("model.width", IntDistribution(low, low + width, log=log), points=points).grid()
    assert (values[0], values[-1]) == (low, low + width)
    assert values == sorted(set(values))
    assert all(isinstance(value, int) for value in values)
    assert log or len(values) == min(points, width + 1)


@settings(deadline=None, max_examples=30)
@given(st.floats(-10, 10), st.floats(0.01, 3), st.integers(1, 20))
def test_steps_are_kept(low, step, count):
    entry = {"type": "float", "low": low, "high": low + step * (count + 0.5), "step": step}
    (number,) = make_space({"loss.order": entry}).parameters
    steps = [(value - low) / step for value in number.grid()]
    assert steps == pytest.approx(range(count + 1), abs=1e-6)
    assert all(number.found_in({"loss.order": value}) == value for value in number.grid())


def test_true_is_not_one():
    choice = Parameter("loss.log", CategoricalDistribution((1, 0)))
    with pytest.raises(LookupError):
        choice.found_in({"loss.log": True})


def test_spaces_stand_beside_the_configurations():
    assert (Path(resource_dir("configs")) / "tune" / "scale_lambda.yaml").is_file()
    assert {"scale_lambda", "error", "embedding", "reweight", "rivals", "general"} <= set(SHIPPED)
