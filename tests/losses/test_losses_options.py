"""Options, registry and table: names, ranges, refusals, and that none of it loads torch."""

from __future__ import annotations

import dataclasses
import doctest
import importlib
import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from docstring_parser import parse_from_object
from loss_cases import CASES, case_id

import matcard.losses
from matcard.errors import InputError
from matcard.losses.__main__ import main
from matcard.losses.formulas import COMBINATIONS
from matcard.losses.options import CardinalityOptions, LossOptions
from matcard.losses.registry import LOSSES, build_loss, loss_names, loss_options, make_options

INTERVALS = {
    "label_smoothing": ("cross_entropy", [-0.1, 1.0, math.nan, "a", True]),
    "beta": ("class_balanced", [-0.1, 1.0, math.inf]),
    "gamma": ("focal", [-1, math.inf]),
    "max_margin": ("ldam", [0, -1]),
    "logit_scale": ("ldam", [0]),
    "drw_start": ("ldam", [-0.1, 1.1]),
    "tau": ("logit_adjustment", [-1, math.nan, None]),
    "reduction": ("brier", ["none"]),
    "scale": ("magnitude", [0, -1.0, math.nan, math.inf, True]),
    "p": ("magnitude", [0.9, 2.1, math.nan]),
    "order": ("spread", [-1, math.nan, "one"]),
    "temperature": ("magnitude", [0]),
    "reservoir": ("magnitude", [0, 2.5, True]),
    "memory": ("magnitude", [-1, 2.5, True]),
    "warmup": ("magnitude", [-1, 1.5, math.inf, "half"]),
    "warmup_ramp": ("magnitude", [-0.1, 2.5]),
    "lambda_base": ("magnitude", [-1]),
    "lambda_invariant": ("magnitude", [-1, math.inf]),
    "anchors": ("magnitude", ["some"]),
    "form": ("magnitude", ["pair"]),
    "log": ("magnitude", ["yes"]),
    "unit_norm": ("magnitude", [None]),
    "scale_schedule": ("magnitude", ["cosine"]),
}


def without_torch(code: str) -> str:
    """Run code where importing torch or anything heavier is an error."""
    heavy = ("torch", "numpy", "pandas", "lightning", "jaxtyping", "scipy", "sklearn")
    guard = f"import sys\nfor name in {heavy}: sys.modules[name] = None\n"
    done = subprocess.run([sys.executable, "-c", guard + code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_names_options_and_the_table_load_no_torch() -> None:
    code = "import matcard.losses as m; print(m.loss_options('magnitude')().scale, *m.loss_names())"
    assert without_torch(code).split() == ["1.0", *loss_names()]
    assert "class_balanced" in without_torch("from matcard.losses.__main__ import main; main([])")


def test_losses_work_with_torch_alone() -> None:
    code = """
import sys
for name in ("numpy", "pandas", "lightning", "jaxtyping", "scipy", "sklearn", "torch_geometric", "rich"):
    sys.modules[name] = None
import torch
from matcard.losses import MagnitudeLoss, CentroidClassifier, build_loss
print(MagnitudeLoss(scale=1.0)(torch.zeros(4, 3), torch.tensor([0, 1, 2, 0])).item())
build_loss("spread", space="embedding", combine="divide")(torch.zeros(4, 3), torch.arange(4) % 2, torch.rand(4, 2))
CentroidClassifier().fit(torch.rand(4, 2), torch.arange(4) % 2, 2)
import matcard.losses
[getattr(matcard.losses, name) for name in matcard.losses.__all__]
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) > 0


@pytest.mark.parametrize("name", matcard.losses.__all__)
def test_public_names_are_there(name) -> None:
    assert getattr(matcard.losses, name) is not None


@pytest.mark.parametrize("name", LOSSES)
def test_a_registry_line_leads_from_name_to_options_to_class(name) -> None:
    options = loss_options(name)(name=name)
    assert dataclasses.fields(options)[0].name == "name"
    loss = build_loss(name, class_counts=[3, 2, 1])
    assert loss.name == name
    assert loss.options == options
    assert type(loss).__name__ in LOSSES[name].path
    assert options.formula
    assert options.reference


@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_options_objects_and_keywords_build_the_same(case) -> None:
    name, options = case
    made = make_options(name, **options)
    assert isinstance(made, loss_options(name))
    assert (
        build_loss(made, class_counts=[3, 2, 1]).options == build_loss(name, class_counts=[3, 2, 1], **options).options
    )


def test_options_given_beside_an_object_change_it() -> None:
    options = CardinalityOptions(name="spread", scale=3.0, order=2.0)
    changed = build_loss(options, scale=5.0).options
    assert (changed.name, changed.scale, changed.order) == ("spread", 5.0, 2.0)
    with pytest.raises(InputError, match="SpreadLoss takes options of 'spread'"):
        matcard.losses.SpreadLoss(CardinalityOptions())


def test_ce_is_cross_entropy() -> None:
    assert loss_options("ce") is loss_options("cross_entropy")
    assert build_loss("ce").options.name == make_options("ce").name == "cross_entropy"
    assert "ce" not in loss_names()


def test_unknown_names_are_refused_with_the_nearest() -> None:
    with pytest.raises(InputError, match=r"'magnitud'; did you mean magnitude\? there are: magnitude, spread"):
        loss_options("magnitud")
    with pytest.raises(InputError, match=r"option of loss 'focal' 'gama'; did you mean gamma\? there are: gamma"):
        build_loss("focal", gama=2)
    with pytest.raises(InputError, match="unknown option of loss 'magnitude' 'scales'; did you mean scale"):
        matcard.losses.MagnitudeLoss(scales=2)
    with pytest.raises(InputError, match=r"'balanced_softmax' 'tau'; there are: none"):
        build_loss("balanced_softmax", class_counts=[1, 2], tau=1)
    for wrong in (1.0, {"scale": 1.0}, None):
        with pytest.raises(InputError, match=r"in place of a loss: give its name or options, and others by keyword"):
            build_loss(wrong)
    with pytest.raises(InputError, match=r"found 1\.0 in place of a loss"):
        matcard.losses.MagnitudeLoss(1.0)


@pytest.mark.parametrize(
    ("option", "name", "value"), [(option, name, v) for option, (name, values) in INTERVALS.items() for v in values]
)
def test_values_out_of_range_are_refused_by_name(option, name, value) -> None:
    with pytest.raises(InputError, match=f"loss.{option} is "):
        make_options(name, **{option: value})


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int64])
def test_numbers_of_numpy_are_numbers(kind) -> None:
    logits, targets = torch.tensor([[1.0, 0.0, 2.0]]), torch.tensor([0])
    for option, name in (("scale", "magnitude"), ("gamma", "focal"), ("lambda_invariant", "spread")):
        options = {"combine": "add"} if option == "lambda_invariant" else {}
        losses = [build_loss(name, **options, **{option: number}) for number in (kind(2), 2)]
        assert losses[0](logits, targets) == losses[1](logits, targets)
    assert CardinalityOptions(reservoir=np.int64(3)).reservoir == 3
    for number in (kind(-1), np.float32("nan"), np.bool_(True)):
        with pytest.raises(InputError, match=r"loss\.scale is "):
            CardinalityOptions(scale=number)


def test_every_pair_of_space_and_combine_works_or_is_refused_with_the_valid_ones() -> None:
    every = {combine for combinations in COMBINATIONS.values() for combine in combinations}
    for space, combinations in COMBINATIONS.items():
        for combine in every:
            base = "class_balanced" if combine == "effective-number" else "cross_entropy"
            if combine in combinations:
                CardinalityOptions(space=space, combine=combine, base=base)
                continue
            with pytest.raises(InputError, match="valid: error: replace, multiply, add; embedding: add, divide"):
                CardinalityOptions(space=space, combine=combine, base=base)
    with pytest.raises(InputError, match=r"loss.space is 'logits': expected one of error, embedding"):
        CardinalityOptions(space="logits")


@pytest.mark.parametrize("scale", ["learn", "learned", "auto"])
def test_learning_the_scale_is_refused_with_the_reason(scale) -> None:
    with pytest.raises(InputError, match="runs to 0, or to infinity"):
        CardinalityOptions(scale=scale)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"scale_end": 3.0}, "scale_schedule"),
        ({"scale_schedule": "log"}, "needs loss.scale_end"),
        ({"scale_schedule": "log", "scale_end": 0.0}, "loss.scale_end is 0.0"),
        ({"scale": "median", "scale_schedule": "linear", "scale_end": 2.0}, "follows each batch"),
        ({"order": 1.0}, "the magnitude has none"),
        ({"name": "spread", "order": 1.0, "space": "class-embedding", "combine": "reweight"}, "order"),
        ({"base": "focl"}, "did you mean focal"),
        ({"base": "spread"}, "loss of single samples"),
        ({"base": "focal", "base_tau": 1.0}, "option of loss 'focal' 'tau'; there are: gamma"),
        ({"base": "logit_adjustment", "base_tau": -1.0}, "loss.tau is -1.0"),
        ({"space": "class-embedding", "combine": "effective-number"}, "set class_balanced"),
    ],
)
def test_options_that_contradict_each_other_are_refused(options, said) -> None:
    with pytest.raises(InputError, match=said):
        CardinalityOptions(**options)


def test_every_option_of_a_base_can_be_set() -> None:
    own = {
        field.name
        for name in LOSSES
        for field in dataclasses.fields(loss_options(name))
        if loss_options(name).per_sample and field.name not in ("name", "reduction")
    }
    prefixed = {field.name for field in dataclasses.fields(CardinalityOptions) if field.name.startswith("base_")}
    assert prefixed == {f"base_{name}" for name in own}
    options = CardinalityOptions(base="logit_adjustment", base_tau=0.5).base_options()
    assert (options.name, options.tau) == ("logit_adjustment", 0.5)


@pytest.mark.parametrize("name", LOSSES)
def test_every_option_is_documented_and_every_loss_is_in_the_table(name, capsys) -> None:
    options = loss_options(name)
    described = {item.arg_name: item.description for item in parse_from_object(options).params}
    main([name])
    shown = " ".join(capsys.readouterr().out.split())
    for field in dataclasses.fields(options):
        assert described[field.name]
        assert field.name in shown
    assert name in shown


def test_the_table_knows_the_names(capsys) -> None:
    main([])
    shown = capsys.readouterr().out
    assert all(name in shown for name in [*loss_names(), "ce", "effective-number", "2601.04941"])
    with pytest.raises(InputError, match="did you mean focal"):
        main(["focale"])


@pytest.mark.parametrize("module", ["registry", "cardinality", "rivals"])
def test_examples_in_the_documentation_are_right(module) -> None:
    tested = doctest.testmod(importlib.import_module(f"matcard.losses.{module}"))
    assert tested.attempted > 0
    assert tested.failed == 0


def test_options_cannot_be_changed_in_place() -> None:
    options: LossOptions = CardinalityOptions()
    with pytest.raises(dataclasses.FrozenInstanceError):
        options.name = "spread"  # type: ignore[misc]
