from __future__ import annotations

import itertools
import math
import subprocess
import sys
import warnings

import numpy as np
import pytest
from evaluation_cases import imbalanced, names, predictions
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from imblearn.metrics import geometric_mean_score
from sklearn import metrics as oracle

from matcard.errors import InputError
from matcard.evaluation.metrics import classification_metrics, higher_is_better, metric_label, metric_names

few = settings(deadline=None, max_examples=40)


def score(targets, probabilities, train_counts=None, **options):
    num_classes = probabilities.shape[1]
    counts = np.arange(num_classes, 0, -1) if train_counts is None else train_counts
    return classification_metrics(
        targets, probabilities, class_names=names(num_classes), train_counts=counts, **options
    )


def same(a, b):
    return math.isnan(a) and math.isnan(b) if math.isnan(a) or math.isnan(b) else a == pytest.approx(b, abs=1e-12)


@pytest.mark.parametrize("num_classes", [2, 3, 7])
@pytest.mark.parametrize("signal", [0.3, 2.0])
def test_agrees_with_scikit_learn_and_imbalanced_learn(num_classes, signal):
    targets, probabilities, counts = imbalanced(600, num_classes, seed=num_classes, signal=signal)
    predicted = probabilities.argmax(axis=1)
    got = score(targets, probabilities, counts)
    assert len(np.unique(targets)) == num_classes
    scores = probabilities[:, 1] if num_classes == 2 else probabilities
    one_hot = targets if num_classes == 2 else np.eye(num_classes)[targets]
    expected = {
        "accuracy": oracle.accuracy_score(targets, predicted),
        "balanced_accuracy": oracle.balanced_accuracy_score(targets, predicted),
        "macro_f1": oracle.f1_score(targets, predicted, average="macro"),
        "mcc": oracle.matthews_corrcoef(targets, predicted),
        "g_mean": geometric_mean_score(targets, predicted),
        "roc_auc": oracle.roc_auc_score(targets, scores, multi_class="ovr"),
        "average_precision": oracle.average_precision_score(one_hot, scores),
        "log_loss": oracle.log_loss(targets, probabilities),
    }
    assert {name: got[name] for name in expected} == pytest.approx(expected, abs=1e-12)


def test_minority_is_what_is_rare_in_training_not_here():
    targets = np.array([0, 0, 1, 1, 1, 1, 2, 2, 2, 2])
    predicted = np.array([0, 1, 1, 1, 1, 0, 2, 0, 0, 0])
    probabilities = np.eye(3)[predicted]
    got = score(targets, probabilities, [50, 30, 20])
    assert got["minority_classes"] == ["phase 1", "phase 2"]
    assert got["minority_recall"] == pytest.approx((3 / 4 + 1 / 4) / 2)
    assert got["minority_classes_with_support"] == 2
    expected = np.mean([oracle.average_precision_score(targets == c, probabilities[:, c]) for c in (1, 2)])
    assert got["minority_average_precision"] == pytest.approx(expected)


@pytest.mark.parametrize("counts", [[10, 10, 10], [7, 7, 7]])
def test_equal_shares_have_no_minority(counts):
    targets, probabilities, _ = imbalanced(num_classes=3)
    got = score(targets, probabilities, counts)
    assert got["minority_classes"] == []
    assert math.isnan(got["minority_recall"])
    assert math.isnan(got["minority_average_precision"])


def test_a_class_never_trained_on_is_minority():
    targets, probabilities, _ = imbalanced(num_classes=3)
    assert score(targets, probabilities, [10, 10, 0])["minority_classes"] == ["phase 2"]


def test_absent_class_is_left_out_of_averages():
    targets, probabilities, counts = imbalanced(num_classes=4)
    kept = targets != 2
    targets, probabilities = targets[kept], probabilities[kept]
    predicted = probabilities.argmax(axis=1)
    got = score(targets, probabilities, counts)
    present = [0, 1, 3]
    recall = oracle.recall_score(targets, predicted, labels=present, average=None)
    assert got["classes_with_support"] == 3
    assert got["balanced_accuracy"] == pytest.approx(recall.mean())
    assert got["macro_f1"] == pytest.approx(oracle.f1_score(targets, predicted, labels=present, average="macro"))
    assert got["minority_recall"] == pytest.approx(recall[2])
    assert got["roc_auc"] == pytest.approx(
        np.mean([oracle.roc_auc_score(targets == c, probabilities[:, c]) for c in present])
    )
    assert math.isnan(got["recall"]["phase 2"]["value"])
    assert got["recall"]["phase 2"]["n"] == 0
    assert got["precision"]["phase 2"]["value"] == 0
    assert got["prevalence"]["phase 2"] == 0


def test_one_class_only():
    targets, probabilities = np.zeros(5, dtype=int), np.tile([0.8, 0.2], (5, 1))
    got = score(targets, probabilities)
    assert got["accuracy"] == got["balanced_accuracy"] == got["macro_f1"] == got["g_mean"] == 1
    for undefined in ("mcc", "roc_auc", "average_precision", "minority_recall", "minority_average_precision"):
        assert math.isnan(got[undefined]), undefined
    assert got["classes_with_support"] == 1


def test_a_class_never_predicted_has_no_precision():
    targets = np.array([0, 0, 0, 1])
    got = score(targets, np.tile([0.9, 0.1], (4, 1)))
    assert math.isnan(got["precision"]["phase 1"]["value"])
    assert got["f1"]["phase 1"]["value"] == 0
    assert got["g_mean"] == 0
    assert math.isnan(got["mcc"])


def test_given_predictions_replace_argmax_but_leave_ranking_and_calibration():
    targets, probabilities, counts = imbalanced(num_classes=2)
    predicted = (probabilities[:, 1] > 0.2).astype(int)
    at_argmax, chosen = (
        score(targets, probabilities, counts),
        score(targets, probabilities, counts, predicted=predicted),
    )
    assert chosen["accuracy"] == pytest.approx(oracle.accuracy_score(targets, predicted))
    assert chosen["accuracy"] != at_argmax["accuracy"]
    for name in ("roc_auc", "average_precision", "minority_average_precision", "log_loss", "brier", "ece"):
        assert chosen[name] == at_argmax[name]


@few
@given(predictions(), st.randoms(use_true_random=False))
def test_order_of_samples_is_irrelevant(case, random):
    targets, probabilities = case
    order = np.array(random.sample(range(len(targets)), len(targets)))
    before, after = score(targets, probabilities), score(targets[order], probabilities[order])
    for name in metric_names():
        assert same(before[name], after[name]), name
    assert str(before["recall"]) == str(after["recall"])


@few
@given(predictions(), st.randoms(use_true_random=False))
def test_order_of_classes_is_irrelevant(case, random):
    targets, probabilities = case
    num_classes = probabilities.shape[1]
    # Argmax breaks ties by order, so the prediction is given; for two classes the ranking is that of class 1.
    predicted = probabilities.argmax(axis=1)
    order = np.array(random.sample(range(num_classes), num_classes))
    renamed = np.argsort(order)
    counts = np.arange(num_classes, 0, -1)
    before = score(targets, probabilities, counts, predicted=predicted)
    after = classification_metrics(
        renamed[targets],
        probabilities[:, order],
        class_names=[names(num_classes)[c] for c in order],
        train_counts=counts[order],
        predicted=renamed[predicted],
    )
    ordered = {"roc_auc", "average_precision"} if num_classes == 2 else set()
    for name in set(metric_names()) - ordered - {"ece"}:
        assert same(before[name], after[name]), name
    for table in ("recall", "precision", "f1", "prevalence"):
        assert str(sorted(before[table].items())) == str(sorted(after[table].items()))


@few
@given(predictions())
def test_values_are_plain_and_in_range(case):
    targets, probabilities = case
    got = score(targets, probabilities)
    for name in metric_names():
        assert type(got[name]) is float
        low, high = {"mcc": (-1, 1), "log_loss": (0, math.inf), "brier": (0, 2)}.get(name, (0, 1))
        assert math.isnan(got[name]) or low - 1e-12 <= got[name] <= high + 1e-12, name
    assert type(got["n"]) is int
    assert sum(got["prevalence"].values()) == pytest.approx(1)
    for table in ("recall", "precision", "f1"):
        for entry in got[table].values():
            assert {key: type(value) for key, value in entry.items()} == {
                "value": float, "low": float, "high": float, "n": int
            }  # fmt: skip
            assert math.isnan(entry["value"]) or entry["low"] <= entry["value"] + 1e-12 <= entry["high"] + 2e-12


@few
@given(predictions(max_classes=4, max_samples=12))
def test_against_plain_loops(case):
    targets, probabilities = case
    num_classes = probabilities.shape[1]
    predicted = [max(range(num_classes), key=lambda c: row[c]) for row in probabilities]
    pairs = list(zip(targets.tolist(), predicted, strict=True))
    recalls, f1s = [], []
    for c in range(num_classes):
        tp = sum(t == c == p for t, p in pairs)
        fn = sum(t == c != p for t, p in pairs)
        fp = sum(t != c == p for t, p in pairs)
        if tp + fn:
            recalls.append(tp / (tp + fn))
            f1s.append(2 * tp / (2 * tp + fp + fn))
    got = score(targets, probabilities)
    assert got["accuracy"] == pytest.approx(sum(t == p for t, p in pairs) / len(pairs))
    assert got["balanced_accuracy"] == pytest.approx(sum(recalls) / len(recalls))
    assert got["macro_f1"] == pytest.approx(sum(f1s) / len(f1s))
    assert got["g_mean"] == pytest.approx(math.prod(recalls) ** (1 / len(recalls)))
    brier = sum(
        sum((row[c] - (t == c)) ** 2 for c in range(num_classes)) for t, row in zip(targets, probabilities, strict=True)
    )
    assert got["brier"] == pytest.approx(brier / len(pairs))


@few
@given(predictions())
def test_mcc_is_scikit_learns_where_that_is_defined(case):
    targets, probabilities = case
    predicted = probabilities.argmax(axis=1)
    got = score(targets, probabilities)["mcc"]
    if len(set(targets)) == 1 or len(set(predicted)) == 1:
        assert math.isnan(got)
    else:
        assert got == pytest.approx(oracle.matthews_corrcoef(targets, predicted), abs=1e-12)


def test_float32_is_taken_as_it_is():
    targets, probabilities, counts = imbalanced()
    wide, narrow = (
        score(targets, probabilities, counts),
        score(targets, probabilities.astype(np.float32), counts),
    )
    for name in metric_names():
        assert narrow[name] == pytest.approx(wide[name], abs=1e-5)


def test_shots_group_by_training_counts():
    targets, probabilities, _ = imbalanced(num_classes=4)
    got = score(targets, probabilities, [101, 100, 20, 19])
    recall = [got["recall"][name]["value"] for name in names(4)]
    assert got["shots"]["many"] == {"recall": recall[0], "classes": 1, "classes_with_support": 1}
    assert got["shots"]["medium"]["recall"] == pytest.approx((recall[1] + recall[2]) / 2)
    assert got["shots"]["few"]["recall"] == recall[3]
    assert math.isnan(score(targets, probabilities, [500] * 4)["shots"]["few"]["recall"])


NAN_ROWS = np.tile([0.5, 0.5], (9, 1))
NAN_ROWS[[2, 5]] = np.nan
ALL_BAD = np.full((9, 2), 0.3)


@pytest.mark.parametrize(
    ("targets", "probabilities", "message"),
    [
        ([], np.empty((0, 2)), "class indices|one at least"),
        ([0, 1], np.full((3, 2), 0.5), "3 rows of probabilities need as many targets"),
        ([[0], [1]], np.full((2, 2), 0.5), "2 rows of probabilities need as many targets"),
        ([0, 2], np.full((2, 2), 0.5), "class indices from 0 to 1"),
        ([0, -1], np.full((2, 2), 0.5), "class indices from 0 to 1"),
        ([0.0, 1.0], np.full((2, 2), 0.5), "class indices"),
        ([0] * 9, NAN_ROWS, "NaN, .* rows 2, 5 "),
        ([0] * 9, ALL_BAD, "sum to one .* rows 0, 1, 2, 3, 4 and 4 more"),
        ([0], [[-0.5, 1.5]], "0 or more .* rows 0 "),
        ([0], [[2.0, 3.0]], "not logits"),
        ([0], [[0.2, 0.3, 0.5]], r"shape \(n, 2\)"),
        ([0], [0.2], r"shape \(n, 2\)"),
    ],
)
def test_bad_input_is_refused_by_row(targets, probabilities, message):
    with pytest.raises(InputError, match=message):
        classification_metrics(
            np.array(targets), np.asarray(probabilities), class_names=["a", "b"], train_counts=np.array([1, 1])
        )


def test_every_named_metric_is_there_and_has_a_direction():
    targets, probabilities, counts = imbalanced()
    got = score(targets, probabilities, counts)
    assert set(metric_names()) <= set(got)
    lower = {name for name in metric_names() if not higher_is_better(name)}
    assert lower == {"log_loss", "brier", "ece"}
    assert metric_label("macro_f1") == "macro-F1"


@few
@given(predictions(max_classes=3))
def test_a_perfect_prediction_is_best_in_every_direction(case):
    targets, probabilities = case
    perfect = score(targets, np.eye(probabilities.shape[1])[targets])
    got = score(targets, probabilities)
    for name in metric_names():
        assume(not math.isnan(got[name]) and not math.isnan(perfect[name]))
        better = perfect[name] - got[name] if higher_is_better(name) else got[name] - perfect[name]
        assert better >= -1e-12, name


@pytest.mark.parametrize(
    ("name", "hint"),
    [("macro_f", "macro_f1"), ("recal_minority", "minority_recall"), ("zzz", "there are: minority_recall")],
)
def test_an_unknown_metric_is_refused_with_the_nearest(name, hint):
    for ask in (higher_is_better, metric_label):
        with pytest.raises(InputError, match=hint):
            ask(name)


def test_no_warning_in_degenerate_cases():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for targets, columns in itertools.product(([0, 0], [1, 1], [0, 1]), ([1.0, 0.0], [0.0, 1.0], [0.5, 0.5])):
            score(np.array(targets), np.tile(columns, (2, 1)))


def test_import_is_light():
    heavy = ["torch", "sklearn", "pandas", "pymatgen", "matplotlib", "rich"]
    code = (
        "import sys, numpy as np\n"
        "from matcard.evaluation import decision, scoring\n"
        "from matcard.evaluation.metrics import classification_metrics\n"
        "classification_metrics(np.array([0, 1]), np.eye(2), class_names='ab', train_counts=[1, 2])\n"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
