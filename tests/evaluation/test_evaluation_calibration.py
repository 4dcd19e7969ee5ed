from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from evaluation_cases import imbalanced, predictions
from hypothesis import given, settings
from sklearn.metrics import brier_score_loss
from sklearn.metrics import log_loss as log_loss_oracle
from torchmetrics.functional.classification import multiclass_calibration_error

from matcard.errors import InputError
from matcard.evaluation.calibration import Temperature, brier, fit_temperature, log_loss, reliability

few = settings(deadline=None, max_examples=40)


@pytest.mark.parametrize("num_classes", [2, 5])
@pytest.mark.parametrize("bins", [5, 15])
def test_ece_is_torchmetrics(num_classes, bins):
    targets, probabilities, _ = imbalanced(500, num_classes)
    expected = multiclass_calibration_error(
        torch.tensor(probabilities), torch.tensor(targets), num_classes=num_classes, n_bins=bins, norm="l1"
    )
    assert reliability(targets, probabilities, bins).ece == pytest.approx(expected.item(), abs=1e-6)


@few
@given(predictions())
def test_reliability_by_hand(case):
    targets, probabilities = case
    bins = reliability(targets, probabilities, 4)
    right = probabilities.argmax(axis=1) == targets
    confidence = probabilities.max(axis=1)
    for index in range(4):
        inside = (confidence > index / 4) & (confidence <= (index + 1) / 4)
        assert bins.total[index] == inside.sum()
        if inside.any():
            assert bins.accuracy[index] == pytest.approx(right[inside].mean())
            assert bins.confidence[index] == pytest.approx(confidence[inside].mean())
        else:
            assert math.isnan(bins.accuracy[index])
    assert bins.total.sum() == len(targets)


def test_brier_is_scikit_learns():
    targets, probabilities, _ = imbalanced(num_classes=2)
    assert brier(targets, probabilities) == pytest.approx(2 * brier_score_loss(targets, probabilities[:, 1]))
    targets, probabilities, _ = imbalanced(num_classes=4)
    one_against_rest = [brier_score_loss(targets == c, probabilities[:, c]) for c in range(4)]
    assert brier(targets, probabilities) == pytest.approx(sum(one_against_rest))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_log_loss_of_a_certain_mistake_is_finite_as_in_scikit_learn(dtype):
    targets = np.array([0, 1, 1])
    probabilities = np.array([[0.0, 1.0], [0.2, 0.8], [0.0, 1.0]], dtype=dtype)
    assert log_loss(targets, probabilities) == pytest.approx(log_loss_oracle(targets, probabilities), rel=1e-5)


@pytest.mark.parametrize("true_temperature", [0.4, 1.0, 3.0])
def test_temperature_is_recovered(true_temperature):
    rng = np.random.default_rng(1)
    logits = 2 * rng.normal(size=(20_000, 3))
    cumulative = np.cumsum(np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True), axis=1)
    targets = (rng.random((20_000, 1)) > cumulative).sum(axis=1)
    shown = np.exp(logits * true_temperature)
    shown /= shown.sum(axis=1, keepdims=True)
    fitted = fit_temperature(targets, shown)
    assert fitted.value == pytest.approx(true_temperature, rel=0.05)
    assert fitted.log_loss_after <= fitted.log_loss_before
    assert fitted.ece_after < 0.01


def test_temperature_is_the_minimum_and_keeps_the_order():
    targets, probabilities, _ = imbalanced(signal=0.5)
    probabilities = probabilities**3 / (probabilities**3).sum(axis=1, keepdims=True)
    fitted = fit_temperature(targets, probabilities)
    after = fitted.apply(probabilities)
    assert fitted.log_loss_after == pytest.approx(log_loss(targets, after))
    assert fitted.log_loss_before == pytest.approx(log_loss(targets, probabilities))
    for factor in np.linspace(0.5, 2, 31):
        other = Temperature(fitted.value * factor, 0, 0, 0, 0)
        assert log_loss(targets, other.apply(probabilities)) >= fitted.log_loss_after - 1e-9
    assert (after.argmax(axis=1) == probabilities.argmax(axis=1)).all()
    assert after.sum(axis=1) == pytest.approx(1)


def test_temperature_one_changes_nothing_and_zeros_are_finite():
    probabilities = np.array([[0.0, 1.0], [0.25, 0.75]], dtype=np.float32)
    assert Temperature(1, 0, 0, 0, 0).apply(probabilities) == pytest.approx(probabilities)
    assert np.isfinite(Temperature(9, 0, 0, 0, 0).apply(probabilities)).all()


def test_predictions_that_are_all_right_settle_no_temperature():
    fitted = fit_temperature(np.array([0, 1]), np.array([[0.9, 0.1], [0.2, 0.8]]))
    assert fitted.value == 1
    assert fitted.log_loss_after == pytest.approx(fitted.log_loss_before)


def test_predictions_that_mislead_are_flattened():
    fitted = fit_temperature(np.array([1, 0]), np.array([[0.9, 0.1], [0.2, 0.8]]))
    assert fitted.value == pytest.approx(50, rel=1e-3)


def test_temperature_travels_through_its_file(tmp_path):
    targets, probabilities, _ = imbalanced(60)
    fitted = fit_temperature(targets, probabilities)
    fitted.save(tmp_path / "t.json")
    assert Temperature.load(tmp_path / "t.json") == fitted


@pytest.mark.parametrize("text", ["{}", "[]", '{"value": null}'])
def test_a_file_without_temperature_is_refused(tmp_path, text):
    (tmp_path / "t.json").write_text(text)
    with pytest.raises(InputError, match="holds no temperature"):
        Temperature.load(tmp_path / "t.json")


def test_malformed_probabilities_are_refused():
    with pytest.raises(InputError, match="row 1 "):
        fit_temperature(np.array([0, 1]), np.array([[0.5, 0.5], [np.nan, 1.0]]))
    with pytest.raises(InputError, match="sum to one"):
        Temperature(1, 0, 0, 0, 0).apply(np.array([[0.5, 0.1]]))
