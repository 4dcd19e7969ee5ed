"""What a network has to beat: boosting and a balanced forest, on the same splits, by columns or Magpie features."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from matcard.comparison.data import data_sha256
from matcard.comparison.outcome import measured
from matcard.crystals.crystals import Crystals
from matcard.data.composition_features import magpie_of_crystals
from matcard.errors import InputError, nearest_names
from matcard.evaluation.decision import DecisionOptions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jaxtyping import Float

    from matcard.data.dataset import TrainingSet


@dataclass(frozen=True)
class BoostingOptions:
    """Options of scikit-learn's histogram gradient boosting."""

    learning_rate: float = 0.1
    """Shrinkage of each tree."""
    max_iter: int = 200
    """Trees of each class at most; of more than 10,000 training samples a tenth is set aside to say when to stop."""
    max_leaf_nodes: int = 31
    """Leaves of a tree at most."""
    l2_regularization: float = 0.0
    """Penalty on the leaves' values."""
    class_weight: str | None = None
    """`balanced` weighs classes by their inverse frequency."""


@dataclass(frozen=True)
class BalancedForestOptions:
    """Options of imbalanced-learn's balanced forest (Chen, Liaw and Breiman 2004).

    Each tree draws, with replacement, as many samples of every class as the rarest has.
    """

    n_estimators: int = 300
    """Trees."""
    min_samples_leaf: int = 1
    """Samples of a leaf at least."""
    max_features: float = 0.1
    """Share of the features that a division is chosen among."""


RIVALS: dict[str, type] = {"boosting": BoostingOptions, "balanced_forest": BalancedForestOptions}


def rival_options(section: Mapping[str, Any]) -> Any:
    """Make the options of a rival from its section of a configuration, `name` among it.

    Raises:
        InputError: no such rival or option.
    """
    given = dict(section)
    name = str(given.pop("name", None))
    if name not in RIVALS:
        raise InputError(f"rival.name {name!r}; {nearest_names(name, RIVALS)}")
    known = [field.name for field in dataclasses.fields(RIVALS[name])]
    for option in given:
        if option not in known:
            raise InputError(f"unknown option rival.{option} of {name}; {nearest_names(option, known)}")
    return RIVALS[name](**given)


def run_rival(config: Mapping[str, Any], data: TrainingSet, *, tested: bool) -> dict[str, Any]:
    """Fit a rival on the training part and measure it as a network is.

    Raises:
        InputError: unknown options.
    """
    began = time.perf_counter()
    options, seed = rival_options(config["rival"]), int(config["seed"])
    features, codes, split = features_of(data), data.codes, data.split
    classifier = _classifier(options, seed)
    classifier.fit(features[split.train], codes[split.train])
    classes = len(data.class_names)

    def score(part: str) -> Any:
        positions = getattr(split, part)
        probabilities = np.zeros((len(positions), classes))
        probabilities[:, classifier.classes_] = classifier.predict_proba(features[positions])
        return codes[positions], probabilities

    found = measured(
        score,
        tested=tested,
        decision=DecisionOptions(**config["decision"]),
        class_names=data.class_names,
        train_counts=np.bincount(codes[split.train], minlength=classes),
    )
    sizes = {part: len(getattr(split, part)) for part in ("train", "val", "test")}
    about = {"seed": seed, "best_epoch": None, "sizes": sizes, "data_sha256": data_sha256(data)}
    return {**about, **found, "seconds": time.perf_counter() - began}


def features_of(data: TrainingSet) -> Float[np.ndarray, "N F"]:
    """Describe samples by numbers: crystals by matminer's Magpie features of their composition, all else as it is."""
    inputs = data.samples.inputs
    if isinstance(inputs, Crystals):
        return np.asarray(magpie_of_crystals(inputs).to_numpy(dtype=np.float64))
    inputs = np.asarray(inputs, dtype=np.float32)
    return inputs.reshape(len(inputs), -1)


def _classifier(options: Any, seed: int) -> Any:
    values = dataclasses.asdict(options)
    if isinstance(options, BoostingOptions):
        from sklearn.ensemble import HistGradientBoostingClassifier

        return HistGradientBoostingClassifier(**values, random_state=seed)
    from imblearn.ensemble import BalancedRandomForestClassifier

    return BalancedRandomForestClassifier(
        **values, sampling_strategy="all", replacement=True, bootstrap=False, random_state=seed
    )
