"""The rivals against formulas written out, scikit-learn and torchmetrics."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from loss_cases import cross_entropy, softmax
from sklearn.metrics import brier_score_loss, log_loss
from sklearn.utils.class_weight import compute_class_weight
from torchmetrics.functional import mean_squared_error

from matcard.errors import InputError, MatcardWarning
from matcard.evaluation.decision import prior_adjusted
from matcard.losses import Loss, build_loss

COUNTS = [50, 20, 5]
RNG = np.random.default_rng(7)
LOGITS = RNG.normal(size=(12, 3)) * 2
TARGETS = np.array([0, 0, 0, 0, 0, 0, 1, 1, 1, 2, 2, 0])
EPOCHS = 10


def value(name: str, *, logits=LOGITS, targets=TARGETS, counts=COUNTS, epoch: int = 0, **options) -> float:
    loss = build_loss(name, class_counts=counts, **options)
    loss.on_epoch(epoch, EPOCHS)
    return loss(torch.tensor(logits), torch.tensor(targets)).item()


def class_balanced_weights(beta: float) -> list[float]:
    raw = [(1 - beta) / (1 - beta**n) for n in COUNTS]
    return [weight * len(COUNTS) / sum(raw) for weight in raw]


def test_cross_entropy_is_torchs_and_scikit_learns() -> None:
    assert value("cross_entropy") == pytest.approx(log_loss(TARGETS, softmax(LOGITS)))
    z, y = torch.tensor(LOGITS), torch.tensor(TARGETS)
    assert value("ce") == torch.nn.CrossEntropyLoss()(z, y).item()
    smoothed = torch.nn.CrossEntropyLoss(label_smoothing=0.2)(z, y).item()
    assert value("cross_entropy", label_smoothing=0.2) == pytest.approx(smoothed)


def test_weighted_cross_entropy_has_scikit_learns_balanced_weights() -> None:
    labels = np.repeat([0, 1, 2], COUNTS)
    weights = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    expected = log_loss(TARGETS, softmax(LOGITS), sample_weight=weights[TARGETS])
    assert value("weighted_cross_entropy") == pytest.approx(expected)
    torchs = torch.nn.CrossEntropyLoss(weight=torch.tensor(weights))
    assert value("weighted_cross_entropy") == pytest.approx(torchs(torch.tensor(LOGITS), torch.tensor(TARGETS)).item())


@pytest.mark.parametrize("beta", [0.0, 0.9, 0.999])
def test_class_balanced_by_hand(beta) -> None:
    weights = class_balanced_weights(beta)
    losses = cross_entropy(LOGITS, TARGETS)
    expected = sum(weights[y] * loss for y, loss in zip(TARGETS, losses, strict=True)) / len(TARGETS)
    assert value("class_balanced", beta=beta) == pytest.approx(expected, rel=1e-6)


def test_class_balanced_goes_from_equal_to_inverse_weights() -> None:
    assert value("class_balanced", beta=0.0) == pytest.approx(value("cross_entropy"))
    near = build_loss("class_balanced", class_counts=COUNTS, beta=1 - 1e-9)
    inverse = np.array([1 / n for n in COUNTS])
    inverse *= 3 / inverse.sum()
    expected = (inverse[TARGETS] * cross_entropy(LOGITS, TARGETS)).mean()
    assert near(torch.tensor(LOGITS), torch.tensor(TARGETS)).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0, 5.0])
def test_focal_by_hand(gamma) -> None:
    p = softmax(LOGITS)[np.arange(len(TARGETS)), TARGETS]
    expected = np.mean([-((1 - q) ** gamma) * math.log(q) for q in p])
    assert value("focal", gamma=gamma) == pytest.approx(expected)


@pytest.mark.parametrize("epoch", [0, 7, 8, 9])
def test_ldam_by_hand_with_reweighting_deferred_to_epoch_8_of_10(epoch) -> None:
    scale, max_margin = 30.0, 0.5
    margins = [n**-0.25 for n in COUNTS]
    margins = [m * max_margin / max(margins) for m in margins]
    weights = class_balanced_weights(0.9999) if epoch >= 8 else [1.0] * 3
    total = norm = 0.0
    for z, y in zip(LOGITS, TARGETS, strict=True):
        moved = [scale * (x - (margins[y] if c == y else 0.0)) for c, x in enumerate(z)]
        top = max(moved)
        loss = top + math.log(sum(math.exp(x - top) for x in moved)) - moved[y]
        total, norm = total + weights[y] * loss, norm + weights[y]
    assert value("ldam", epoch=epoch) == pytest.approx(total / norm, rel=1e-5)


def test_ldam_gives_the_rarest_class_the_largest_margin() -> None:
    logits = np.zeros((3, 3))
    each = [value("ldam", logits=logits[:1], targets=[c], logit_scale=1.0) for c in range(3)]
    assert each[0] < each[1] < each[2]
    assert each[2] == pytest.approx(math.log(2 * math.exp(0.5) + 1), rel=1e-5)


def test_balanced_softmax_by_hand() -> None:
    expected = []
    for z, y in zip(LOGITS, TARGETS, strict=True):
        terms = [n * math.exp(x) for n, x in zip(COUNTS, z, strict=True)]
        expected.append(-math.log(terms[y] / sum(terms)))
    assert value("balanced_softmax") == pytest.approx(np.mean(expected), rel=1e-6)


@pytest.mark.parametrize("tau", [0.0, 1.0, 2.0])
def test_logit_adjustment_by_hand(tau) -> None:
    prior = np.array(COUNTS) / sum(COUNTS)
    expected = cross_entropy(LOGITS + tau * np.log(prior), TARGETS).mean()
    assert value("logit_adjustment", tau=tau) == pytest.approx(expected, rel=1e-6)
    if tau == 1:
        assert value("balanced_softmax") == pytest.approx(expected, rel=1e-6)


def test_the_decision_by_the_prior_undoes_what_logit_adjustment_learns() -> None:
    decision = prior_adjusted(["a", "b", "c"], np.array(COUNTS))
    logits = np.random.default_rng(1).normal(size=(300, 3))
    undone = (logits - np.log(np.array(COUNTS) / sum(COUNTS))).argmax(1)
    assert (undone != logits.argmax(1)).any()
    np.testing.assert_array_equal(decision.apply(softmax(logits)), undone)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("weighted_cross_entropy", {}),
        ("class_balanced", {}),
        ("ldam", {"drw_start": 0.0}),
        ("balanced_softmax", {}),
        ("logit_adjustment", {}),
        ("error", {"combine": "add", "base": "logit_adjustment"}),
    ],
)
def test_class_counts_beyond_half_precision(name, options, dtype) -> None:
    """65,504 is the largest number of float16, and bfloat16 has 8 bits; a whole model may be converted to either."""
    counts = [300_001, 70_003, 5]
    z, y = torch.tensor(LOGITS).to(dtype), torch.tensor(TARGETS)
    loss = build_loss(name, class_counts=counts, **options)
    expected = loss(z, y).item()
    assert math.isfinite(expected)
    model = torch.nn.ModuleDict({"loss": loss, "head": torch.nn.Linear(2, 2)}).to(dtype)
    assert model["head"].weight.dtype == dtype
    assert model["loss"](z, y).item() == expected
    assert model.double()["loss"](z, y).item() == pytest.approx(expected, rel=1e-6)


def test_brier_is_scikit_learns_and_torchmetrics() -> None:
    p, onehot = softmax(LOGITS), np.eye(3)[TARGETS]
    assert value("brier") == pytest.approx(sum((a - b) ** 2 for a, b in zip(p.ravel(), onehot.ravel(), strict=True)))
    squared = mean_squared_error(torch.tensor(p), torch.tensor(onehot)).item()
    assert value("brier", reduction="mean") == pytest.approx(3 * squared)
    two, labels = LOGITS[:, :2], np.minimum(TARGETS, 1)
    expected = 2 * len(labels) * brier_score_loss(labels, softmax(two)[:, 1])
    assert value("brier", logits=two, targets=labels, counts=[1, 1]) == pytest.approx(expected)


@pytest.mark.parametrize(
    "name", ["weighted_cross_entropy", "class_balanced", "ldam", "balanced_softmax", "logit_adjustment"]
)
def test_class_counts_are_needed_and_checked(name) -> None:
    with pytest.raises(InputError, match=f"loss '{name}' needs class_counts"):
        build_loss(name)
    with pytest.raises(InputError, match=f"loss '{name}' needs class_counts"):
        build_loss("error", combine="add", base=name)
    with pytest.raises(InputError, match=f"loss '{name}' needs class_counts"):
        Loss.find(name)()(torch.zeros(2, 3), torch.tensor([0, 2]))  # as a base it may be made without
    for wrong in ([3, -1], [3], [3, math.nan], {0: 3, 1: 1}, "31a", 3, [[3, 1]], torch.ones(2, 2)):
        with pytest.raises(InputError, match="expected a list of two numbers or more, none of them below 0"):
            build_loss(name, class_counts=wrong)
    with pytest.raises(InputError, match="2 classes"):
        build_loss(name, class_counts=[3, 1])(torch.zeros(2, 3), torch.tensor([0, 1]))
    with pytest.warns(MatcardWarning, match=r"classes \[1\]"):
        loss = build_loss(name, class_counts=[9, 0, 4])
    assert math.isfinite(loss(torch.zeros(2, 3), torch.tensor([0, 2])).item())


def test_focal_keeps_its_slope_where_nothing_is_wrong() -> None:
    logits = torch.tensor([[200.0, -200.0]], requires_grad=True)
    build_loss("focal", gamma=0.1)(logits, torch.tensor([0])).backward()
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize(
    ("logits", "targets", "said"),
    [
        (torch.zeros(3), torch.tensor([0, 1, 0]), "with C >= 2"),
        (torch.zeros(3, 1), torch.tensor([0, 0, 0]), "with C >= 2"),
        (torch.zeros(3, 2), torch.tensor([0, 1]), r"expected \(3,\)"),
        (torch.zeros(2, 2), torch.tensor([0.0, 1.0]), "integer"),
        (torch.zeros(2, 2, dtype=torch.long), torch.tensor([0, 1]), "floating-point"),
        (torch.zeros(2, 3), torch.tensor([0, 3]), "from 0 to 3, expected class numbers from 0 to 2"),
        (torch.zeros(2, 3), torch.tensor([-100, 1]), "from -100 to 1, .* no target is ignored"),
    ],
)
def test_what_does_not_fit_is_refused(logits, targets, said) -> None:
    for name in ("ce", "error"):
        with pytest.raises(InputError, match=said):
            build_loss(name)(logits, targets)
