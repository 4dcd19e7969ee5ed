"""Warm-up: the base loss first, then the invariant blended in, epoch by epoch."""

from __future__ import annotations

import doctest
import io

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from loss_cases import cross_entropy, errors, excess, made

from matcard.errors import InputError, MatcardWarning
from matcard.losses import LDAM, build_loss, make_options, warmup
from matcard.losses.warmup import blend

RNG = np.random.default_rng(21)
LOGITS = torch.tensor(RNG.normal(size=(9, 3)))
EMBEDDINGS = torch.tensor(RNG.normal(size=(9, 4)))
TARGETS = torch.tensor([0, 0, 0, 0, 1, 1, 1, 2, 2])
COUNTS = [40, 30, 20]

WITH_A_BASE = [
    {"combine": "replace"},
    {"combine": "multiply"},
    {"combine": "add", "lambda_base": 0.4, "lambda_invariant": 0.2},
    {"name": "triplet", "combine": "add"},
    {"name": "per_class"},
    {"name": "triplet", "combine": "divide", "lambda_base": 0.3},
    {"name": "reweight"},
    {"name": "effective_number", "base": "logit_adjustment"},
]


def value(loss, epoch: int, epochs: int) -> float:
    loss.on_epoch(epoch, epochs)
    return loss(LOGITS, TARGETS, EMBEDDINGS).item()


def test_the_blend_of_each_epoch() -> None:
    def course(*lengths: float, epochs: int = 8) -> list[float]:
        return [blend(*lengths, epoch, epochs) for epoch in range(epochs)]

    assert course(0, 0) == [1] * 8
    assert course(3, 0) == [0, 0, 0, 1, 1, 1, 1, 1]
    assert course(0, 3) == [0.25, 0.5, 0.75, 1, 1, 1, 1, 1]
    assert course(0.25, 0.125) == [0, 0, 0.5, 1, 1, 1, 1, 1]
    assert course(1, 1) == [0, 0.5, 1, 1, 1, 1, 1, 1], "1 is an epoch, not all of them"
    assert course(20, 5) == [0] * 8
    assert course(0.01, 0) == [0] + [1] * 7, "a share is no less than an epoch"
    assert doctest.testmod(warmup).failed == 0


@settings(deadline=None, max_examples=60)
@given(
    st.one_of(st.integers(0, 30), st.floats(0, 0.99)),
    st.one_of(st.integers(0, 30), st.floats(0, 0.99)),
    st.integers(1, 40),
)
def test_the_blend_goes_from_0_to_1_in_equal_steps(start, ramp, epochs) -> None:
    course = np.array([blend(start, ramp, epoch, epochs) for epoch in range(epochs)])
    assert ((course >= 0) & (course <= 1)).all()
    steps = np.diff(course)
    assert (steps >= 0).all()
    # All but the last step of a ramp are alike; it may end in the middle.
    rising = steps[steps > 1e-12]
    assert np.allclose(rising, rising[:1])
    if start == ramp == 0:
        assert (course == 1).all()
    if start > 0:
        assert course[0] == 0


@pytest.mark.parametrize("options", WITH_A_BASE, ids=str)
@pytest.mark.parametrize("name", ["magnitude", "spread"])
def test_the_loss_goes_from_the_base_to_itself(name, options) -> None:
    base = options.get("base", "cross_entropy")
    loss = made(name, class_counts=COUNTS, warmup=2, warmup_ramp=1, **options)
    plain = made(name, class_counts=COUNTS, **options)
    first = build_loss(base, class_counts=COUNTS)(LOGITS, TARGETS).item()
    for epoch, b in enumerate([0, 0, 0.5, 1, 1]):
        expected = (1 - b) * first + b * value(plain, epoch, 5)
        assert value(loss, epoch, 5) == pytest.approx(expected, rel=1e-12)
        logged = loss.logged()
        assert logged["blend"] == b
        assert "base" in logged


def test_errors_alone_begin_on_cross_entropy_by_the_slow_formula() -> None:
    z, y = LOGITS.numpy(), TARGETS.numpy()
    loss = made("magnitude", scale=2.0, warmup=0.25, warmup_ramp=0.25)
    expected = 2 / 3 * cross_entropy(z, y).mean() + 1 / 3 * excess("magnitude", errors(z, y), 2.0)
    assert value(loss, 2, 8) == pytest.approx(expected)


def test_the_gradient_of_the_warm_up_is_that_of_the_base() -> None:
    grads = []
    for loss in (made("magnitude", warmup=1, base="focal"), build_loss("focal")):
        leaf = LOGITS.clone().requires_grad_()
        loss.on_epoch(0, 4)
        loss(leaf, TARGETS).backward()
        grads.append(leaf.grad)
    torch.testing.assert_close(*grads, rtol=0, atol=0)


def test_what_breaks_the_invariant_does_not_break_the_warm_up() -> None:
    """0 times infinity is not a number: what does not count takes no part at all."""
    loss = made("spread", name="reweight", warmup=1)
    loss.on_epoch(0, 3)
    assert torch.isfinite(loss(LOGITS, TARGETS, EMBEDDINGS / 0))
    loss.on_epoch(1, 3)
    assert not torch.isfinite(loss(LOGITS, TARGETS, EMBEDDINGS / 0))


def test_the_invariant_is_logged_while_it_does_not_count() -> None:
    loss = made("magnitude", warmup=1)
    loss.on_epoch(0, 3)
    loss(LOGITS.clone().requires_grad_(), TARGETS)
    assert loss.logged()["invariant"] == pytest.approx(made("magnitude")(LOGITS, TARGETS).item())


def test_effective_numbers_are_gathered_in_the_warm_up_and_the_base_keeps_its_own_counts() -> None:
    options = {"name": "effective_number", "base": "logit_adjustment"}
    warm = made("magnitude", class_counts=COUNTS, warmup=1, **options)
    plain = made("magnitude", class_counts=COUNTS, **options)
    values = [[value(loss, epoch, 4) for epoch in range(3)] for loss in (plain, warm)]
    assert values[0] == values[1], "in the first epoch both have raw counts; from the second on the same numbers"
    assert warm.first.class_counts.tolist() == COUNTS
    assert warm.base.class_counts.tolist() != COUNTS


def test_a_deferred_base_is_told_of_the_epochs() -> None:
    loss = made("magnitude", class_counts=COUNTS, warmup=4, base=LDAM(drw_start=0.5))
    rival = build_loss("ldam", class_counts=COUNTS, drw_start=0.5)
    values = [[value(one, epoch, 8) for epoch in range(4)] for one in (loss, rival)]
    assert values[0] == values[1]
    rival.on_epoch(4, 8)
    assert rival(LOGITS, TARGETS).item() != values[1][-1]


def test_evaluation_takes_the_blend_of_the_epoch() -> None:
    loss = made("magnitude", warmup=1, warmup_ramp=1)
    for epoch in range(3):
        trained = value(loss.train(), epoch, 3)
        assert loss.eval()(LOGITS, TARGETS).item() == trained


def test_a_run_that_resumes_goes_on_the_same() -> None:
    def fresh():
        return made("spread", class_counts=COUNTS, warmup=2, warmup_ramp=2, base="ldam", combine="multiply")

    whole = fresh()
    values = [value(whole, epoch, 6) for epoch in range(6)]
    file = io.BytesIO()
    torch.save(whole.state_dict(), file)
    for begin in range(6):
        file.seek(0)
        resumed = fresh()
        resumed.load_state_dict(torch.load(file, weights_only=True))
        assert [value(resumed, epoch, 6) for epoch in range(begin, 6)] == values[begin:]


@pytest.mark.filterwarnings("error")
def test_a_loss_without_warm_up_has_the_state_it_had() -> None:
    assert not made("magnitude", class_counts=COUNTS, combine="add", base="focal").first
    loss = made("magnitude", class_counts=COUNTS, warmup=3)
    loss.on_epoch(0, 4)


def test_a_warm_up_that_never_ends_is_told() -> None:
    loss = made("magnitude", warmup=4)
    with pytest.warns(
        MatcardWarning, match=r"loss.warmup 4 lasts for all of the 4 epochs, and cross_entropy counts alone"
    ):
        loss.on_epoch(0, 4)
    assert value(loss, 3, 4) == build_loss("ce")(LOGITS, TARGETS).item()


@pytest.mark.parametrize("combine", ["divide", "multiply", "ratio"])
@pytest.mark.parametrize("option", ["warmup", "warmup_ramp"])
def test_forms_without_a_base_are_refused(combine, option) -> None:
    with pytest.raises(InputError, match=rf"triplet {combine} has none: set --loss.lambda_base above 0"):
        make_options("triplet", combine=combine, **{option: 1})
    assert make_options("triplet", combine=combine, lambda_base=1, **{option: 1}).warms_up
