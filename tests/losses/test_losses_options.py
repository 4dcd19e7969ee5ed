"""Names, options and table: ranges, refusals, and what is loaded for them."""

from __future__ import annotations

import dataclasses
import doctest
import importlib
import inspect
import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from loss_cases import CASES, case_id

import matcard.losses
from matcard.errors import InputError
from matcard.losses import Brier, Focal, LogitAdjustment, Loss, SampleLoss, SpreadLoss, build_loss, make_options
from matcard.losses.__main__ import main
from matcard.losses.error import ErrorOptions
from matcard.training.config import field_docs

INTERVALS = {
    "label_smoothing": ("cross_entropy", [-0.1, 1.0, math.nan, "a", True]),
    "beta": ("class_balanced", [-0.1, 1.0, math.inf]),
    "gamma": ("focal", [-1, math.inf]),
    "max_margin": ("ldam", [0, -1]),
    "logit_scale": ("ldam", [0]),
    "drw_start": ("ldam", [-0.1, 1.1]),
    "tau": ("logit_adjustment", [-1, math.nan, None]),
    "reduction": ("brier", ["none"]),
    "scale": ("error", [0, -1.0, math.nan, math.inf, True]),
    "p": ("error", [0.9, 2.1, math.nan]),
    "order": ("error", [-1, math.nan, "one"]),
    "temperature": ("triplet", [0]),
    "reservoir": ("effective_number", [0, 2.5, True]),
    "memory": ("reweight", [-1, 2.5, True]),
    "warmup": ("error", [-1, 1.5, math.inf, "half"]),
    "warmup_ramp": ("error", [-0.1, 2.5]),
    "lambda_base": ("error", [-1]),
    "lambda_invariant": ("error", [-1, math.inf]),
    "anchors": ("triplet", ["some"]),
    "combine": ("error", ["divide", ""]),
    "invariant": ("reweight", ["diversity", "Spread"]),
    "scale_end": ("error", [0, -1.0]),
    "log": ("error", ["yes"]),
    "unit_norm": ("per_class", [None]),
    "scale_schedule": ("error", ["cosine"]),
}


def test_losses_work_with_torch_alone() -> None:
    code = """
import sys
heavy = ("numpy", "pandas", "lightning", "jaxtyping", "scipy", "sklearn", "torch_geometric", "rich", "docstring_parser")
sys.modules.update(dict.fromkeys(heavy))
import torch
from matcard.losses import MagnitudeLoss, build_loss
print(MagnitudeLoss(scale=1.0)(torch.zeros(4, 3), torch.tensor([0, 1, 2, 0])).item())
build_loss("triplet", invariant="spread")(torch.zeros(4, 3), torch.arange(4) % 2, torch.rand(4, 2))
import matcard.losses
[getattr(matcard.losses, name) for name in matcard.losses.__all__]
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) > 0


@pytest.mark.parametrize("name", matcard.losses.__all__)
def test_public_names_are_there(name) -> None:
    assert getattr(matcard.losses, name) is not None


@pytest.mark.parametrize("name", Loss.names())
def test_a_name_leads_to_the_class_and_its_options(name) -> None:
    found = Loss.find(name)
    options = found.options_class()
    assert dataclasses.fields(options)[0].name == "name"
    assert options.name == name
    loss = build_loss(name, class_counts=[3, 2, 1])
    assert type(loss) is found
    assert loss.options == options
    assert loss.formula
    assert loss.reference
    assert inspect.getsourcefile(type(options)) == inspect.getsourcefile(found), "options stand beside their loss"


@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_options_objects_and_keywords_build_the_same(case) -> None:
    name, options = case
    made = make_options(name, **options)
    assert isinstance(made, Loss.find(name).options_class)
    assert (
        build_loss(made, class_counts=[3, 2, 1]).options == build_loss(name, class_counts=[3, 2, 1], **options).options
    )


def test_options_given_beside_an_object_change_it() -> None:
    options = ErrorOptions(invariant="spread", scale=3.0, order=2.0)
    changed = build_loss(options, scale=5.0).options
    assert (changed.name, changed.invariant, changed.scale, changed.order) == ("error", "spread", 5.0, 2.0)
    with pytest.raises(InputError, match="Focal takes options of 'focal', found those of ErrorOptions"):
        Focal(ErrorOptions())


def test_ce_is_cross_entropy() -> None:
    assert Loss.find("ce") is Loss.find("cross_entropy")
    assert build_loss("ce").options.name == make_options("ce").name == "cross_entropy"
    assert "ce" not in Loss.names()
    assert build_loss("error", combine="add", base="ce").options.base.name == "cross_entropy"


def test_unknown_names_are_refused_with_the_nearest() -> None:
    with pytest.raises(InputError, match=r"unknown loss 'reweigth'; did you mean reweight\? there are: "):
        Loss.find("reweigth")
    with pytest.raises(InputError, match=r"option of loss 'focal' 'gama'; did you mean gamma\? there are: gamma"):
        build_loss("focal", gama=2)
    with pytest.raises(InputError, match="unknown option of loss 'error' 'scales'; did you mean scale"):
        matcard.losses.MagnitudeLoss(scales=2)
    with pytest.raises(InputError, match=r"'balanced_softmax' 'tau'; there are: none"):
        build_loss("balanced_softmax", class_counts=[1, 2], tau=1)
    for wrong in (1.0, {"scale": 1.0}, None):
        with pytest.raises(InputError, match=r"in place of a loss: give its name or options, and others by keyword"):
            build_loss(wrong)
    with pytest.raises(InputError, match=r"found 1\.0 in place of a loss"):
        matcard.losses.ErrorLoss(1.0)


@pytest.mark.parametrize(
    ("option", "name", "value"), [(option, name, v) for option, (name, values) in INTERVALS.items() for v in values]
)
def test_values_out_of_range_are_refused_by_name(option, name, value) -> None:
    with pytest.raises(InputError, match=f"option {option} of loss '{name}' is "):
        make_options(name, **{option: value})


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int64])
def test_numbers_of_numpy_are_numbers(kind) -> None:
    logits, targets = torch.tensor([[1.0, 0.0, 2.0]]), torch.tensor([0])
    for option, name in (("scale", "error"), ("gamma", "focal"), ("lambda_invariant", "error")):
        options = {"combine": "add"} if option == "lambda_invariant" else {}
        losses = [build_loss(name, **options, **{option: number}) for number in (kind(2), 2)]
        assert losses[0](logits, targets) == losses[1](logits, targets)
    assert make_options("effective_number", reservoir=np.int64(3)).reservoir == 3
    for number in (kind(-1), np.float32("nan"), np.bool_(True)):
        with pytest.raises(InputError, match="option scale of loss 'error' is "):
            ErrorOptions(scale=number)


@pytest.mark.parametrize(
    ("name", "absent"),
    [
        ("error", {"anchors", "temperature", "reservoir", "memory", "unit_norm"}),
        ("triplet", {"reservoir", "memory", "unit_norm"}),
        ("per_class", {"combine", "anchors", "temperature", "reservoir"}),
        ("reweight", {"combine", "order", "reduction", "log", "lambda_base", "lambda_invariant", "reservoir"}),
        ("effective_number", {"combine", "reduction", "log", "lambda_base", "lambda_invariant", "memory"}),
        *((name, {"scale", "invariant", "warmup", "memory", "base"}) for name in SampleLoss.names()),
    ],
)
def test_a_loss_has_only_the_options_that_play_a_part(name, absent) -> None:
    options = {field.name for field in dataclasses.fields(Loss.find(name).options_class)}
    assert not options & absent
    for option in absent:
        with pytest.raises(InputError, match=f"unknown option of loss '{name}' '{option}'"):
            make_options(name, **{option: 1})


@pytest.mark.parametrize("scale", ["learn", "learned", "auto"])
def test_learning_the_scale_is_refused_with_the_reason(scale) -> None:
    with pytest.raises(InputError, match="runs to 0, or to infinity"):
        ErrorOptions(scale=scale)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"scale_end": 3.0}, "with a scale_schedule"),
        ({"scale_schedule": "log"}, "option scale_end of loss 'error' is None: expected a number"),
        ({"scale_schedule": "log", "scale_end": 0.0}, "option scale_end of loss 'error' is 0.0"),
        ({"scale": "median", "scale_schedule": "linear", "scale_end": 2.0}, "follows each batch"),
        ({"order": 1.0}, "the magnitude has none"),
        ({"base": "focl"}, "unknown loss 'focl'; did you mean focal"),
        ({"base": "reweight"}, r"unknown loss of single samples 'reweight'; there are: .*focal"),
        ({"base": ErrorOptions()}, "unknown loss of single samples 'error'"),
        ({"base": {"name": "focal"}}, "in place of a loss"),
        ({"name": "focal"}, "option name of loss 'error' is 'focal': expected one of error"),
        ({"base": 3}, "found 3 in place of a loss"),
    ],
)
def test_options_that_contradict_each_other_are_refused(options, said) -> None:
    with pytest.raises(InputError, match=said):
        ErrorOptions(**options)


def test_effective_numbers_need_a_base_that_counts() -> None:
    with pytest.raises(InputError, match=r"loss.base.name focal uses none; set weighted_cross_entropy, class_balanced"):
        make_options("effective_number", base="focal")


@pytest.mark.parametrize("name", SampleLoss.names())
def test_a_base_has_all_its_options(name) -> None:
    """By its name, its options, or a loss that may have no class counts yet."""
    options = SampleLoss.find(name).options_class()
    by = [ErrorOptions(combine="add", base=base).base for base in (name, options, SampleLoss.find(name)())]
    assert by == [options] * 3
    loss = build_loss("error", combine="add", base=name, class_counts=[3, 2, 1])
    assert type(loss.base) is SampleLoss.find(name)


def test_a_base_is_set_as_a_loss_is() -> None:
    assert ErrorOptions(combine="add", base=LogitAdjustment(tau=0.5)).base.tau == 0.5
    assert SpreadLoss(combine="multiply", base=Brier(reduction="mean")).base.options.reduction == "mean"
    with pytest.raises(InputError, match=r"option tau of loss 'logit_adjustment' is -1\.0"):
        ErrorOptions(combine="add", base=LogitAdjustment(tau=-1.0))


@pytest.mark.parametrize("name", Loss.names())
def test_every_option_is_documented_and_every_loss_is_in_the_table(name, capsys) -> None:
    options = Loss.find(name).options_class
    described = field_docs(options)
    main([name])
    shown = " ".join(capsys.readouterr().out.split())
    for field in dataclasses.fields(options)[1:]:
        assert described[field.name]
        assert field.name in shown
    assert name in shown


def test_the_table_knows_the_names(capsys) -> None:
    main([])
    shown = capsys.readouterr().out
    assert all(name in shown for name in [*Loss.names(), "ce", "2601.04941"])
    with pytest.raises(InputError, match="did you mean focal"):
        main(["focale"])


@pytest.mark.parametrize("module", ["base", "error", "warmup"])
def test_examples_in_the_documentation_are_right(module) -> None:
    tested = doctest.testmod(importlib.import_module(f"matcard.losses.{module}"))
    assert tested.attempted > 0
    assert tested.failed == 0


def test_options_cannot_be_changed_in_place() -> None:
    options = ErrorOptions()
    with pytest.raises(dataclasses.FrozenInstanceError):
        options.name = "spread"  # type: ignore[misc]
