"""The classifier by class centroids, for networks that are trained on embeddings alone."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch

from matcard.prediction.network import CentroidClassifier

RNG = np.random.default_rng(2)


def unit(h: np.ndarray) -> np.ndarray:
    return h / np.linalg.norm(h, axis=1, keepdims=True)


def fitted(num_classes: int, targets: list[int]) -> tuple[CentroidClassifier, np.ndarray, np.ndarray]:
    h, y = RNG.normal(size=(len(targets), 5)), np.array(targets)
    classifier = CentroidClassifier()
    classifier.fit(torch.tensor(h), torch.tensor(y), num_classes)
    return classifier, h, y


def test_with_two_classes_the_score_is_the_difference_of_similarities() -> None:
    classifier, h, y = fitted(2, [0, 0, 1, 0, 1, 0, 0])
    new = RNG.normal(size=(4, 5))
    negative, positive = (unit(h)[y == c].mean(0) for c in range(2))
    expected = [x @ positive - x @ negative for x in unit(new)]
    scores = classifier(torch.tensor(new))
    np.testing.assert_allclose(scores[:, 1], expected, rtol=1e-12)
    np.testing.assert_allclose(scores[:, 0], -np.array(expected), rtol=1e-12)


def test_with_more_classes_the_others_are_averaged_and_the_nearest_wins() -> None:
    classifier, h, y = fitted(3, [0, 1, 2, 2, 1, 0, 0, 2])
    new = RNG.normal(size=(6, 5))
    centroids = [unit(h)[y == c].mean(0) for c in range(3)]
    for x, logits in zip(unit(new), classifier(torch.tensor(new)).numpy(), strict=True):
        s = [x @ centroid for centroid in centroids]
        for c in range(3):
            assert logits[c] == pytest.approx(s[c] - (sum(s) - s[c]) / 2)
        assert logits.argmax() == int(np.argmax(s))


def test_the_centroid_of_one_embedding_is_that_embedding() -> None:
    classifier, h, _ = fitted(2, [0, 0, 0, 1])
    np.testing.assert_allclose(classifier.centroids[1], unit(h)[3], rtol=1e-12)
    np.testing.assert_allclose(classifier.centroids[0], unit(h)[:3].mean(0), rtol=1e-12)


def test_an_absent_class_is_never_chosen_and_stays_finite() -> None:
    classifier, _, _ = fitted(3, [0, 2, 2, 0])
    logits = classifier(torch.randn(50, 5, dtype=torch.float64))
    assert torch.isfinite(logits).all()
    assert (logits.argmax(1) != 1).all()


def test_what_was_fitted_is_saved_and_loaded() -> None:
    classifier, h, _ = fitted(3, [0, 1, 2, 1])
    file = io.BytesIO()
    torch.save(classifier.state_dict(), file)
    file.seek(0)
    loaded = CentroidClassifier()
    loaded.load_state_dict(torch.load(file, weights_only=True))
    torch.testing.assert_close(loaded(torch.tensor(h)), classifier(torch.tensor(h)))
    nested = torch.nn.ModuleDict({"head": CentroidClassifier()})
    nested.load_state_dict({f"head.{name}": value for name, value in classifier.state_dict().items()})
    torch.testing.assert_close(nested["head"].centroids, classifier.centroids)
    with pytest.raises(RuntimeError, match="centroids"):
        CentroidClassifier().load_state_dict({})


def test_fitting_again_replaces_what_was_fitted() -> None:
    classifier, _, _ = fitted(3, [0, 1, 2, 1])
    classifier.fit(torch.eye(2), torch.tensor([0, 1]), 2)
    assert classifier(torch.eye(2)).argmax(1).tolist() == [0, 1]


def test_dead_embeddings_give_finite_logits() -> None:
    classifier = CentroidClassifier()
    classifier.fit(torch.zeros(4, 3), torch.tensor([0, 1, 1, 0]), 2)
    assert torch.isfinite(classifier(torch.zeros(2, 3))).all()


def test_mixed_precision_makes_no_ties_of_near_neighbours() -> None:
    classifier = CentroidClassifier()
    angles = torch.tensor([0.500, 0.501, 0.502])
    classifier.fit(torch.stack([angles.cos(), angles.sin()], dim=1), torch.arange(3), 3)
    near = torch.tensor([[np.cos(0.5022), np.sin(0.5022)]], dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert classifier(near).dtype == torch.float32
        assert classifier(near).argmax().item() == 2
        assert classifier(near.bfloat16()).dtype == torch.float32
