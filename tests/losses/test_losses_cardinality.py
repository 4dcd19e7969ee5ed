"""Every formula of the cardinality losses, recomputed with numpy's solve and plain loops."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from loss_cases import INVARIANTS, cross_entropy, errors, excess, made, similarity, unit

from matcard.errors import InputError, MatcardWarning
from matcard.losses import Brier, ErrorLoss, LogitAdjustment, MagnitudeLoss, SpreadLoss, build_loss, make_options
from matcard.losses.cardinality import seeded
from matcard.losses.error import error_points
from matcard.losses.measure import Measure, MeasureOptions
from matcard.losses.measure import unit as unit_rows
from matcard.losses.triplets import mine_triplets

RNG = np.random.default_rng(11)
LOGITS = RNG.normal(size=(9, 3))
EMBEDDINGS = RNG.normal(size=(9, 4))
TARGETS = np.array([0, 0, 0, 0, 1, 1, 1, 2, 2])
COUNTS = [40, 30, 20]
NAMES = ["magnitude", "spread"]


def run(invariant: str, *, logits=LOGITS, embeddings=EMBEDDINGS, targets=TARGETS, counts=COUNTS, epoch=None, **options):
    loss = made(invariant, class_counts=counts, seed=4, **options)
    if epoch is not None:
        loss.on_epoch(*epoch)
    result = loss(torch.tensor(logits), torch.tensor(targets), torch.tensor(embeddings))
    return result.item(), loss


def value(invariant: str, **options) -> float:
    return run(invariant, **options)[0]


def triplets(anchors: str = "all", step: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The rows that the first step of epoch 0 draws with seed 4, and their unit vectors."""
    rows = mine_triplets(torch.tensor(TARGETS), seeded(4, 0, step), anchors)
    h = unit(EMBEDDINGS)
    return tuple(h[index.numpy()] for index in rows)


def attraction(a, p, n, tau: float) -> float:
    margins = [(x * y).sum() - (x * z).sum() for x, y, z in zip(a, p, n, strict=True)]
    return float(np.mean([math.log(1 + math.exp(-m / tau)) for m in margins]))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("scale", "p"), [(1.0, 2.0), (0.3, 1.0), (4.0, 1.5)])
def test_error_replace(name, scale, p) -> None:
    expected = excess(name, errors(LOGITS, TARGETS), scale, p)
    assert value(name, scale=scale, p=p) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("order", [0.5, 1.0, 2.0, math.inf])
def test_spread_of_other_orders(order) -> None:
    points = np.vstack([errors(LOGITS, TARGETS), np.zeros(3)])
    typical = similarity(points, 2.0).mean(1)
    if order == 1:
        expected = math.exp(-np.log(typical).mean())
    elif order == math.inf:
        expected = 1 / typical.max()
    else:
        expected = (typical ** (order - 1)).mean() ** (1 / (1 - order))
    assert value("spread", scale=2.0, order=order) == pytest.approx(expected - 1, rel=1e-9)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("p", [1.0, 1.4, 2.0])
@pytest.mark.filterwarnings("ignore:the .* of errors alone collapses")
def test_two_classes_lie_on_a_line_and_agree_with_their_two_coordinates(name, p) -> None:
    labels = np.array([0, 1, 1, 0, 1, 0, 0, 0, 1])
    expected = excess(name, errors(LOGITS[:, :2], labels), 1.7, p)
    got = value(name, logits=LOGITS[:, :2], targets=labels, counts=[5, 4], scale=1.7, p=p)
    assert got == pytest.approx(expected, rel=1e-9)
    points = error_points(torch.tensor(LOGITS[:, :2]), torch.tensor(labels), p)
    assert points.shape == (9, 1)  # one coordinate: no solve


@pytest.mark.parametrize("name", NAMES)
def test_error_multiply_and_add(name) -> None:
    invariant, losses = excess(name, errors(LOGITS, TARGETS), 2.0), cross_entropy(LOGITS, TARGETS)
    assert value(name, combine="multiply", scale=2.0) == pytest.approx(losses.mean() * invariant)
    added = value(name, combine="add", scale=2.0, lambda_base=0.7, lambda_invariant=0.2)
    assert added == pytest.approx(0.7 * losses.mean() + 0.2 * invariant)


def test_any_loss_of_single_samples_is_a_base_and_logit_adjustment_adds_up() -> None:
    invariant = excess("magnitude", errors(LOGITS, TARGETS), 1.0)
    prior = np.array(COUNTS) / sum(COUNTS)
    adjusted = cross_entropy(LOGITS + 1.5 * np.log(prior), TARGETS).mean()
    got = value("magnitude", combine="add", base=LogitAdjustment(tau=1.5))
    assert got == pytest.approx(adjusted + invariant, rel=1e-6)
    for base in ("weighted_cross_entropy", "class_balanced", "focal", "ldam", "balanced_softmax"):
        alone = build_loss(base, class_counts=COUNTS)(torch.tensor(LOGITS), torch.tensor(TARGETS)).item()
        assert value("magnitude", combine="add", base=base) == pytest.approx(alone + invariant, rel=1e-6)
    brier = (errors(LOGITS, TARGETS) ** 2).sum(1)
    assert value("magnitude", combine="add", base="brier") == pytest.approx(brier.sum() + invariant)
    assert value("magnitude", combine="add", base=Brier(reduction="mean")) == pytest.approx(brier.mean() + invariant)


@pytest.mark.parametrize("name", NAMES)
def test_reduction_and_logarithm(name) -> None:
    invariant, n = excess(name, errors(LOGITS, TARGETS), 1.0), len(TARGETS)
    assert value(name, reduction="mean") == pytest.approx(invariant / n)
    assert value(name, log=True) == pytest.approx(math.log(1 + invariant))
    assert value(name, log=True, reduction="mean") == pytest.approx(math.log(1 + invariant / n))


@pytest.mark.parametrize("name", NAMES)
def test_the_value_grows_with_the_batch_and_with_the_scale(name) -> None:
    """So a weight is tuned for a batch size, unless the mean is taken, and the scale cannot be learned by descent."""
    generator = torch.Generator().manual_seed(0)
    z, y = torch.randn(512, 10, generator=generator), torch.randint(10, (512,), generator=generator)
    sums, means = ([made(name, reduction=r)(z[:n], y[:n]) for n in (32, 128, 512)] for r in ("none", "mean"))
    assert sums[0] < sums[1] < sums[2] < 2.5 * sums[0]
    assert means[0] > 2 * means[1] > 4 * means[2]
    by_scale = [made(name, scale=t)(z[:32], y[:32]) for t in (0.3, 1.0, 3.0, 10.0)]
    assert all(less < more for less, more in itertools.pairwise(by_scale))


def test_the_mean_of_a_short_last_batch_divides_by_its_own_length() -> None:
    short = excess("magnitude", errors(LOGITS[:2], TARGETS[:2]), 1.0)
    got = value("magnitude", logits=LOGITS[:2], targets=TARGETS[:2], embeddings=EMBEDDINGS[:2], reduction="mean")
    assert got == pytest.approx(short / 2)


@pytest.mark.parametrize("name", NAMES)
def test_embedding_forms_with_triplets(name) -> None:
    a, p, n = triplets()
    near, far = (excess(name, x - a, 1.5) for x in (p, n))
    b, base = attraction(a, p, n, 0.2), cross_entropy(LOGITS, TARGETS).mean()
    common = {"name": "triplet", "scale": 1.5}
    assert value(name, combine="divide", temperature=0.2, **common) == pytest.approx(b / far)
    assert value(name, combine="multiply", temperature=0.2, **common) == pytest.approx(b * near)
    assert value(name, combine="ratio", **common) == pytest.approx(near / far)
    assert value(name, combine="add", lambda_invariant=0.3, **common) == pytest.approx(base + 0.3 * (near - far))
    joint = value(name, combine="ratio", lambda_base=0.5, lambda_invariant=2.0, **common)
    assert joint == pytest.approx(0.5 * base + 2 * near / far)


def test_class_aware_anchors_are_used() -> None:
    a, p, n = triplets("class-aware")
    # A triplet drawn twice counts once, and would make the oracle's matrix singular.
    near, far = (excess("magnitude", np.unique(x - a, axis=0), 1.0) for x in (p, n))
    got = value("magnitude", name="triplet", combine="ratio", anchors="class-aware")
    assert got == pytest.approx(near / far)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("unit_norm", [False, True])
def test_embedding_add_per_class(name, unit_norm) -> None:
    h = unit(EMBEDDINGS) if unit_norm else EMBEDDINGS
    within = np.mean([excess(name, h[c == TARGETS], 0.8) for c in range(3)])
    expected = cross_entropy(LOGITS, TARGETS).mean() + 0.4 * (within - excess(name, h, 0.8))
    options = {
        "name": "per_class",
        "scale": 0.8,
        "lambda_invariant": 0.4,
    }
    assert value(name, unit_norm=unit_norm, **options) == pytest.approx(expected)


@pytest.mark.parametrize("name", NAMES)
def test_embedding_add_per_class_of_the_classes_that_the_batch_has(name) -> None:
    targets = np.array([4, 1, 4, 4, 1, 6, 6, 1, 4])
    logits = RNG.normal(size=(9, 7))
    within = [math.log(1 + excess(name, EMBEDDINGS[targets == c], 0.8) / (targets == c).sum()) for c in (1, 4, 6)]
    whole = math.log(1 + excess(name, EMBEDDINGS, 0.8) / 9)
    expected = cross_entropy(logits, targets).mean() + np.mean(within) - whole
    options = {"name": "per_class", "scale": 0.8}
    got = value(name, logits=logits, targets=targets, counts=[1] * 7, reduction="mean", log=True, **options)
    assert got == pytest.approx(expected)


@pytest.mark.parametrize("base", ["cross_entropy", "weighted_cross_entropy"])
def test_reweighting_by_the_magnitude_and_the_spread(base) -> None:
    points = np.hstack([unit(EMBEDDINGS), np.eye(3)[TARGETS]])
    zeta = similarity(points, 3.0)
    weights = {"magnitude": np.linalg.solve(zeta, np.ones(9)).clip(0), "spread": 1 / zeta.sum(1)}
    own = 1 / np.array(COUNTS)[TARGETS] if base == "weighted_cross_entropy" else np.ones(9)
    for name, w in weights.items():
        expected = (w * own * cross_entropy(LOGITS, TARGETS)).sum() / (w * own).sum()
        got = value(name, name="reweight", scale=3.0, base=base)
        assert got == pytest.approx(expected, rel=1e-6)


def test_negative_weights_are_clipped() -> None:
    # The middle of a triangle has a negative weight at a small scale.
    around = np.array([0, 2, 4]) * np.pi / 3
    h = np.vstack([[0.0, 0.0, 2.0], np.stack([0.1 * np.cos(around), 0.1 * np.sin(around), np.ones(3)], 1)])
    labels, logits = np.zeros(4, dtype=int), RNG.normal(size=(4, 2))
    points = np.hstack([unit(h), np.eye(2)[labels]])
    raw = np.linalg.solve(similarity(points, 0.01, 2.0), np.ones(4))
    assert raw.min() < -0.1
    options = {"name": "reweight", "scale": 0.01}
    got = value("magnitude", logits=logits, targets=labels, embeddings=h, counts=[4, 1], **options)
    clipped = raw.clip(0)
    assert got == pytest.approx((clipped * cross_entropy(logits, labels)).sum() / clipped.sum(), rel=1e-5)


def test_reweighting_sends_no_gradient_through_the_weights() -> None:
    loss = made("spread", name="reweight")
    z, h = (torch.tensor(x, requires_grad=True) for x in (LOGITS, EMBEDDINGS))
    loss(z, torch.tensor(TARGETS), h).backward()
    assert h.grad is None
    assert z.grad is not None


def test_twins_share_the_weight_of_one() -> None:
    # Five copies of one crystal and one other crystal of the class: magnitude gives each crystal one half.
    h = np.vstack([np.tile([[1.0, 0.0]], (5, 1)), [[0.0, 1.0]]])
    logits = RNG.normal(size=(6, 2))
    losses = cross_entropy(logits, np.zeros(6, dtype=int))
    got = value(
        "magnitude",
        logits=logits,
        targets=np.zeros(6, dtype=int),
        embeddings=h,
        counts=[6, 1],
        name="reweight",
    )
    assert got == pytest.approx((losses[:5].mean() + losses[5]) / 2)


@pytest.mark.parametrize("name", NAMES)
def test_the_median_heuristic_sets_the_scale(name) -> None:
    points = errors(LOGITS, TARGETS)
    gaps = [np.linalg.norm(x - y) for x in points for y in points]
    t = 1 / np.median([gap for gap in gaps if gap > 0])
    got, loss = run(name, scale="median")
    # An even number of distances has two medians; either will do.
    assert loss.logged()["scale"] == pytest.approx(t, rel=0.05)
    assert got == pytest.approx(excess(name, points, loss.logged()["scale"]))


def test_the_median_of_triplets_is_that_of_positives_and_negatives_together() -> None:
    a, p, n = triplets()
    points = np.unique(np.vstack([p - a, n - a]), axis=0)
    gaps = np.sort([np.linalg.norm(x - y) for i, x in enumerate(points) for y in points[:i]])
    _, loss = run("spread", name="triplet", combine="ratio", scale="median")
    assert 1 / gaps[len(gaps) // 2 + 3] <= loss.logged()["scale"] <= 1 / gaps[len(gaps) // 2 - 3]


def test_the_median_scale_of_vanishing_errors_is_bounded() -> None:
    sure = 40 * np.eye(3)[TARGETS] + LOGITS
    assert run("magnitude", logits=sure, scale="median")[1].logged()["scale"] == 1e6


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [("linear", [1.0, 3.25, 5.5, 7.75, 10.0]), ("log", [10 ** (i / 4) for i in range(5)])],
)
def test_the_scale_follows_its_schedule(schedule, expected) -> None:
    for epoch, scale in enumerate(expected):
        got, loss = run("magnitude", scale_schedule=schedule, scale_end=10.0, epoch=(epoch, 5))
        assert loss.logged()["scale"] == pytest.approx(scale)
        assert got == pytest.approx(excess("magnitude", errors(LOGITS, TARGETS), scale))
    part = Measure(MeasureOptions(name="error", scale=2.0, scale_schedule=schedule, scale_end=10.0))
    points = torch.zeros(3, 2)
    assert part.scale(points) == 2.0
    part.on_epoch(9, 5)
    assert part.scale(points) == 10.0


def test_logged_terms_are_those_of_the_loss() -> None:
    total, loss = run("magnitude", combine="add", lambda_base=2.0, lambda_invariant=0.5)
    terms = loss.logged()
    assert terms["jitter"] == 0
    assert total == pytest.approx(2 * terms["base"] + 0.5 * terms["invariant"])
    assert run("spread", name="triplet", combine="ratio")[1].logged()["triplets"] == 9
    loss(torch.zeros(0, 3), torch.zeros(0, dtype=torch.long))
    assert loss.logged() == {}


@given(seed=st.integers(0, 500), scale=st.floats(0.1, 5))
@settings(deadline=None, max_examples=30)
def test_order_of_samples_and_repeated_errors_do_not_matter_to_magnitude(seed, scale) -> None:
    generator = np.random.default_rng(seed)
    logits, labels = generator.normal(size=(6, 4)), generator.integers(0, 4, 6)
    shuffled = generator.permutation(np.tile(np.arange(6), 2))
    loss = MagnitudeLoss(scale=scale)
    one = loss(torch.tensor(logits), torch.tensor(labels))
    two = loss(torch.tensor(logits[shuffled]), torch.tensor(labels[shuffled]))
    assert two.item() == pytest.approx(one.item(), rel=1e-9)


def test_n_copies_of_one_error_have_the_closed_forms_of_the_theory() -> None:
    logits, n, t = np.array([[2.0, 0.0, -1.0]]), 7, 1.3
    e = errors(logits, np.array([1]))[0]
    r = t * np.linalg.norm(e)
    q = math.exp(-r)
    repeated = {
        "logits": np.tile(logits, (n, 1)),
        "targets": np.ones(n, dtype=int),
        "embeddings": np.ones((n, 1)),
    }
    assert value("magnitude", scale=t, **repeated) == pytest.approx(math.tanh(r / 2))
    assert value("spread", scale=t, **repeated) == pytest.approx(n * (1 - q**2) / ((n + q) * (n * q + 1)))


@pytest.mark.parametrize("options", [{}, {"combine": "add"}, {"name": "triplet"}, {"name": "per_class"}])
@pytest.mark.parametrize("name", NAMES)
def test_gradients_agree_with_finite_differences(name, options) -> None:
    loss = made(name, class_counts=COUNTS, **options).eval()
    z, h = (torch.tensor(x, requires_grad=True) for x in (LOGITS, EMBEDDINGS))
    targets = torch.tensor(TARGETS)
    assert torch.autograd.gradcheck(lambda z, h: loss(z, targets, h), (z, h), atol=1e-7)


def test_the_gradient_of_unit_vectors_vanishes_at_zero() -> None:
    h = torch.zeros(2, 3, requires_grad=True)
    unit_rows(h).sum().backward()
    assert h.grad.abs().max() == 0


@pytest.mark.parametrize("combine", ["add", "divide", "multiply", "ratio"])
def test_embeddings_that_are_not_numbers_are_not_hidden(combine) -> None:
    broken = EMBEDDINGS.copy()
    broken[0, 0] = math.nan
    assert math.isnan(value("magnitude", embeddings=broken, name="triplet", combine=combine))
    assert math.isnan(value("spread", embeddings=broken, name="reweight"))


def test_two_classes_of_errors_alone_are_warned_of_once() -> None:
    with pytest.warns(MatcardWarning, match="collapses to the majority class"):
        MagnitudeLoss(class_counts=[9, 1])
    loss = SpreadLoss()
    with pytest.warns(MatcardWarning, match="set --loss.name reweight"):
        loss(torch.zeros(2, 2), torch.tensor([0, 1]))
    loss(torch.zeros(2, 2), torch.tensor([0, 1]))
    MagnitudeLoss(class_counts=[9, 1], combine="add")


def test_the_drop_ins_are_the_invariants_of_errors() -> None:
    for drop_in, invariant in ((MagnitudeLoss, "magnitude"), (SpreadLoss, "spread")):
        loss = drop_in(scale=2.0)
        assert loss.options == make_options("error", invariant=invariant, scale=2.0)
        assert loss.options.combine == "replace"
        assert isinstance(loss, ErrorLoss)


def test_options_without_effect_are_refused() -> None:
    with pytest.raises(InputError, match=r"loss.base.name focal plays no part in error replace"):
        MagnitudeLoss(base="focal")
    with pytest.raises(InputError, match=r"loss.base.name focal plays no part in per_class add"):
        build_loss("per_class", base="focal", lambda_base=0)
    with pytest.raises(InputError, match=r"loss.temperature is that of triplet divide and multiply: ratio has none"):
        build_loss("triplet", combine="ratio", temperature=0.3)
    for name, options in (
        ("error", {"combine": "multiply"}),
        ("error", {"warmup": 1}),
        ("triplet", {"lambda_base": 1}),
    ):
        assert make_options(name, base="focal", **options).base.name == "focal"


def test_embeddings_are_asked_for_where_they_are_needed() -> None:
    loss = made("spread", name="reweight")
    assert loss.needs_embeddings
    assert not MagnitudeLoss().needs_embeddings
    with pytest.raises(InputError, match="needs embeddings"):
        loss(torch.zeros(2, 3), torch.tensor([0, 1]))
    with pytest.raises(InputError, match=r"expected \(2, F\)"):
        loss(torch.zeros(2, 3), torch.tensor([0, 1]), torch.zeros(3, 4))
    with pytest.raises(InputError, match=r"torch\.int64, expected \(2, F\) of a floating-point type"):
        loss(torch.zeros(2, 3), torch.tensor([0, 1]), torch.zeros(2, 4).long())


@pytest.mark.parametrize(
    ("options", "trains"),
    [
        ({}, True),
        ({"name": "per_class"}, True),
        ({"name": "triplet", "combine": "add"}, True),
        ({"name": "triplet", "combine": "add", "lambda_base": 0.0}, False),
        ({"name": "triplet", "combine": "divide"}, False),
        ({"name": "triplet", "combine": "divide", "lambda_base": 1.0}, True),
        ({"name": "reweight"}, True),
    ],
)
def test_what_trains_the_head_is_known(options, trains) -> None:
    loss = made("magnitude", **options)
    assert loss.trains_head is trains
    z = torch.tensor(LOGITS, requires_grad=True)
    loss(z, torch.tensor(TARGETS), torch.tensor(EMBEDDINGS, requires_grad=True)).backward()
    assert bool(z.grad.abs().max() > 0) is trains


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_and_autocast_are_computed_in_float32_and_float64(dtype) -> None:
    z, y = torch.tensor(LOGITS).to(dtype), torch.tensor(TARGETS)
    expected = excess("magnitude", errors(z.double().numpy(), TARGETS), 1.0)
    got = MagnitudeLoss()(z, y)
    assert got.dtype == torch.float32
    assert got.item() == pytest.approx(expected, rel=1e-6)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = made("magnitude", name="triplet", combine="divide").eval()
        inside = loss(torch.tensor(LOGITS).float(), y, torch.tensor(EMBEDDINGS).float())
    outside = loss(torch.tensor(LOGITS).float(), y, torch.tensor(EMBEDDINGS).float())
    assert inside.item() == outside.item()


def test_invariants_of_the_oracles_know_two_points() -> None:
    for oracle in INVARIANTS.values():
        assert oracle(np.array([[0.0], [0.7]]), 2.0) == pytest.approx(1 + math.tanh(0.7))
