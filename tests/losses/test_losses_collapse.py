"""Advice for a network that predicts one class: for every loss, and naming options that exist."""

from __future__ import annotations

import dataclasses
import re

import pytest
from loss_cases import CASES, case_id, made

from matcard.losses import Loss, build_loss, make_options

KNOWN = {field.name for name in Loss.names() for field in dataclasses.fields(Loss.find(name).options_class)}


@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_every_loss_has_advice_that_names_options_that_exist(case) -> None:
    name, options = case
    advice = build_loss(name, class_counts=[3, 2, 1], **options).collapse_advice()
    mentioned = re.findall(r"loss\.(\w+)", advice)
    assert set(mentioned) <= KNOWN
    assert mentioned or "optimizer.lr" in advice


def test_the_settings_that_are_advised_are_valid_and_differ_from_those_that_collapsed() -> None:
    for loss in (made("magnitude"), made("spread"), build_loss("cross_entropy")):
        settings = dict(re.findall(r"--loss\.(\w+) ([\w-]+(?:\.\d+)?)", loss.collapse_advice().split(" or ")[-1]))
        scale = float(settings.pop("scale"))
        options = make_options(settings.pop("name"), scale=scale, **settings)
        assert (options.name, options.invariant, options.scale) == ("reweight", "spread", 3.0)


def test_the_numbers_that_are_too_large_are_named() -> None:
    advice = made("magnitude", combine="add", lambda_invariant=7.5).collapse_advice()
    assert "lower --loss.lambda_invariant (now 7.5)" in advice
