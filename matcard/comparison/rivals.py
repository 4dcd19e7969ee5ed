"""What a network has to beat: boosting and a balanced forest, on the same splits, by columns or Magpie features."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from matcard.comparison.outcome import data_sha256, measured
from matcard.crystals.crystals import Crystals
from matcard.data.composition_features import magpie_of_crystals
from matcard.data.crystals import descriptors_of
from matcard.errors import InputError, nearest_names
from matcard.evaluation.decision import DecisionOptions
from matcard.evaluation.value import ValueMix

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

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
    by: Literal["class", "number", "ranks"] = "class"
    """What is learned: the class; the number that classes are made of, whose class probabilities are fitted on
    validation; or both, whose samples are put in the order of the mean of their ranks within the part."""

    def __post_init__(self) -> None:
        if self.by not in ("class", "number", "ranks"):
            raise InputError(f"rival.by is {self.by!r}: expected class, number or ranks")


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


_LEAST = 1e-12
"""A sum of probabilities counts as this at least."""
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
    by, classes = getattr(options, "by", "class"), len(data.class_names)
    sources: list[Callable[[Any], Float[np.ndarray, "n C"]]] = []
    if by != "number":
        classifier = _classifier(options, seed).fit(features[split.train], codes[split.train])

        def of_class(x: Any) -> Float[np.ndarray, "n C"]:
            probabilities = np.zeros((len(x), classes))
            probabilities[:, classifier.classes_] = classifier.predict_proba(x)
            return probabilities

        sources.append(of_class)
    if by != "class":
        sources.append(_of_number(options, features, data, seed))

    def score(part: str) -> Any:
        positions = getattr(split, part)
        found = [source(features[positions]) for source in sources]
        return codes[positions], found[0] if len(found) == 1 else by_mean_rank(found)

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
    """Describe samples by numbers.

    Crystals are their descriptors, or matminer's Magpie features of their composition where the data have none; all
    else is as it is.
    """
    inputs = data.samples.inputs
    if isinstance(inputs, Crystals):
        if (described := descriptors_of(data.dataset)) is not None:
            return np.asarray(described, dtype=np.float64)
        return np.asarray(magpie_of_crystals(inputs).to_numpy(dtype=np.float64))
    inputs = np.asarray(inputs, dtype=np.float32)
    return inputs.reshape(len(inputs), -1)


def _of_number(
    options: BoostingOptions, features: Float[np.ndarray, "N F"], data: TrainingSet, seed: int
) -> Callable[[Any], Float[np.ndarray, "n C"]]:
    """Learn the number behind the classes, and on the validation part what it says of them.

    Raises:
        InputError: classes that are not made of a number.
    """
    from sklearn.ensemble import HistGradientBoostingRegressor

    split, values = data.split, data.values
    if values is None or not values.edges:
        raise InputError(
            f"rival.by {options.by}: the classes of the data are not made of a number; leave it out, or make them by "
            "data.threshold, data.bins or data.window"
        )
    known = {name: value for name, value in dataclasses.asdict(options).items() if name not in ("class_weight", "by")}
    regressor = HistGradientBoostingRegressor(**known, random_state=seed)
    regressor.fit(features[split.train], values.numbers[split.train, 0])
    predicted = regressor.predict(features[split.val])
    alike = np.full((len(split.val), len(data.class_names)), 1 / len(data.class_names))
    mix = ValueMix.fit(values.edges, values.classes, predicted, alike, data.codes[split.val])
    return lambda x: mix.of_number(regressor.predict(x))


def by_mean_rank(probabilities: Sequence[Float[np.ndarray, "n C"]]) -> Float[np.ndarray, "n C"]:
    """Order n samples by the mean of the ranks that several sources give them, class by class.

    The mean probabilities stay what they are as a set and are dealt out in this order, so that they still say how
    many samples of a class there are; where more than two classes are dealt each by itself, rows are made to sum to 1.
    """
    from scipy.stats import rankdata

    ranks = np.mean([rankdata(each, axis=0) for each in probabilities], axis=0)
    values = np.sort(np.mean(probabilities, axis=0), axis=0)
    dealt = np.take_along_axis(values, rankdata(ranks, method="min", axis=0).astype(int) - 1, axis=0)
    return np.asarray(dealt / dealt.sum(axis=1, keepdims=True).clip(_LEAST))


def _classifier(options: Any, seed: int) -> Any:
    values = {name: value for name, value in dataclasses.asdict(options).items() if name != "by"}
    if isinstance(options, BoostingOptions):
        from sklearn.ensemble import HistGradientBoostingClassifier

        return HistGradientBoostingClassifier(**values, random_state=seed)
    from imblearn.ensemble import BalancedRandomForestClassifier

    return BalancedRandomForestClassifier(
        **values, sampling_strategy="all", replacement=True, bootstrap=False, random_state=seed
    )
