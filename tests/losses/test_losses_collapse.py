"""Advice for a network that predicts one class: for every loss, and naming options that exist."""

from __future__ import annotations

import dataclasses
import re

import pytest
from loss_cases import CASES, case_id

from matcard.losses import collapse_advice, make_options
from matcard.losses.registry import LOSSES

KNOWN = {field.name for entry in LOSSES.values() for field in dataclasses.fields(entry.options)}


@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_every_loss_has_advice_that_names_options_that_exist(case) -> None:
    name, options = case
    advice = collapse_advice(make_options(name, **options))
    mentioned = re.findall(r"loss\.(\w+)", advice)
    assert set(mentioned) <= KNOWN
    assert mentioned or "optimizer.lr" in advice


def test_the_settings_that_are_advised_are_valid_and_differ_from_those_that_collapsed() -> None:
    for name in ("magnitude", "spread", "cross_entropy"):
        settings = dict(
            re.findall(r"loss\.(\w+)=([\w-]+(?:\.\d+)?)", collapse_advice(make_options(name)).split(" or ")[-1])
        )
        scale = float(settings.pop("scale"))
        options = make_options(settings.pop("name"), scale=scale, **settings)
        assert (options.space, options.combine) == ("class-embedding", "reweight")


def test_the_numbers_that_are_too_large_are_named() -> None:
    advice = collapse_advice(make_options("magnitude", combine="add", lambda_invariant=7.5))
    assert "lower loss.lambda_invariant (now 7.5)" in advice
