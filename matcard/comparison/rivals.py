"""What a network has to beat on the same splits: boosting, a balanced forest, logistic regression on fixed numbers."""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, TypeVar

import numpy as np

from matcard.batch import Standard
from matcard.cache import cache_dir
from matcard.comparison.results import measured
from matcard.crystals.crystals import Crystals
from matcard.descriptors.describe import describe, find_descriptors
from matcard.errors import InputError
from matcard.evaluation.decision import DecisionOptions
from matcard.evaluation.value import ValueMix
from matcard.options import AtLeastOne, Named, NamedOptions, NotNegative, Positive, Within
from matcard.training.config import check_names, option_types

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from jaxtyping import Float

    from matcard.data.dataset import TrainingSet

    Probabilities = Callable[[Any], Float[np.ndarray, "n C"]]
    """From features to the probabilities of C classes."""

_LEAST = 1e-12
"""A sum of probabilities counts as this at least."""


@dataclass(frozen=True)
class RivalOptions(NamedOptions):
    """What every rival takes."""

    kind: ClassVar[str] = "rival"
    length: ClassVar[str | None] = None
    """Option that the time of a fit grows with."""

    descriptors: str | None = None
    """Fixed numbers of crystals, as data.descriptors names them, in place of the task's."""

    @property
    def own(self) -> dict[str, Any]:
        """The options that scikit-learn knows."""
        values = dataclasses.asdict(self)
        return {name: value for name, value in values.items() if name not in ("name", "descriptors", "by")}


O = TypeVar("O", bound=RivalOptions)  # noqa: E741


class Rival(Named[O], what="rival"):
    """A model that is fitted to fixed numbers of the training part.

    Args:
        options: of the rival.
        seed: of what it draws.
    """

    def __init__(self, options: O, seed: int) -> None:
        self.options = options
        self.seed = seed

    @abstractmethod
    def fit(self, features: Float[np.ndarray, "N F"], data: TrainingSet) -> Probabilities:
        """Fit to the training part.

        Raises:
            InputError: it cannot be fitted to such data.
        """


@dataclass(frozen=True)
class BoostingOptions(RivalOptions):
    """Options of scikit-learn's histogram gradient boosting."""

    length: ClassVar[str | None] = "rival.max_iter"

    name: Literal["boosting"] = "boosting"
    learning_rate: Positive = 0.1
    """Shrinkage of each tree."""
    max_iter: AtLeastOne = 200
    """Trees of each class at most; of more than 10,000 training samples a tenth is set aside to say when to stop."""
    max_leaf_nodes: Annotated[int, Within(2, whole=True)] = 31
    """Leaves of a tree at most."""
    l2_regularization: NotNegative = 0.0
    """Penalty on the leaves' values."""
    class_weight: str | None = None
    """`balanced` weighs classes by their inverse frequency."""
    by: Literal["class", "number", "ranks"] = "class"
    """What is learned: the class; the number that classes are made of, whose class probabilities are fitted on
    validation; or both, whose samples are put in the order of the mean of their ranks within the part."""


class Boosting(Rival[BoostingOptions]):
    """Trees, each fitted to what those before it leave."""

    def fit(self, features: Float[np.ndarray, "N F"], data: TrainingSet) -> Probabilities:
        """Fit to the class, the number behind it, or both."""
        from sklearn.ensemble import HistGradientBoostingClassifier

        found: list[Probabilities] = []
        if self.options.by != "number":
            classifier = HistGradientBoostingClassifier(**self.options.own, random_state=self.seed)
            found.append(fitted(classifier, features, data))
        if self.options.by != "class":
            found.append(self._of_number(features, data))
        return found[0] if len(found) == 1 else lambda x: by_mean_rank([each(x) for each in found])

    def _of_number(self, features: Float[np.ndarray, "N F"], data: TrainingSet) -> Probabilities:
        """Learn the number behind the classes, and on the validation part what it says of them.

        Raises:
            InputError: classes that are not made of a number.
        """
        from sklearn.ensemble import HistGradientBoostingRegressor

        split, values = data.split, data.values
        if values is None or not values.edges:
            raise InputError(
                f"rival.by {self.options.by}: the classes of the data are not made of a number; leave it out, or make "
                "them by data.threshold, data.bins or data.window"
            )
        known = {name: value for name, value in self.options.own.items() if name != "class_weight"}
        regressor = HistGradientBoostingRegressor(**known, random_state=self.seed)
        regressor.fit(features[split.train], values.numbers[split.train, 0])
        predicted = regressor.predict(features[split.val])
        alike = np.full((len(split.val), len(data.class_names)), 1 / len(data.class_names))
        mix = ValueMix.fit(values.edges, values.classes, predicted, alike, data.codes[split.val])
        return lambda x: mix.of_number(regressor.predict(x))


@dataclass(frozen=True)
class BalancedForestOptions(RivalOptions):
    """Options of imbalanced-learn's balanced forest (Chen, Liaw and Breiman 2004)."""

    length: ClassVar[str | None] = "rival.n_estimators"

    name: Literal["balanced_forest"] = "balanced_forest"
    n_estimators: AtLeastOne = 300
    """Trees."""
    min_samples_leaf: AtLeastOne = 1
    """Samples of a leaf at least."""
    max_features: Annotated[float, Within(0, 1, "(]")] = 0.1
    """Share of the features that a division is chosen among."""


class BalancedForest(Rival[BalancedForestOptions]):
    """Trees that draw, with replacement, as many samples of every class as the rarest has."""

    def fit(self, features: Float[np.ndarray, "N F"], data: TrainingSet) -> Probabilities:
        """Fit to the class."""
        from imblearn.ensemble import BalancedRandomForestClassifier

        how: dict[str, Any] = {"sampling_strategy": "all", "replacement": True, "bootstrap": False}
        forest = BalancedRandomForestClassifier(**self.options.own, **how, random_state=self.seed)
        return fitted(forest, features, data)


@dataclass(frozen=True)
class LogisticOptions(RivalOptions):
    """Options of scikit-learn's logistic regression."""

    name: Literal["logistic"] = "logistic"
    C: Positive = 1.0
    """One over the penalty on the squared weights."""
    max_iter: AtLeastOne = 1000
    """Steps of L-BFGS at most."""
    class_weight: str | None = None
    """`balanced` weighs classes by their inverse frequency."""


class Logistic(Rival[LogisticOptions]):
    """Logistic regression on numbers that are standardised by the training part and clipped at 5."""

    def fit(self, features: Float[np.ndarray, "N F"], data: TrainingSet) -> Probabilities:
        """Fit to the class."""
        from sklearn.linear_model import LogisticRegression

        standard = Standard.of(features[data.split.train])
        found = fitted(LogisticRegression(**self.options.own, random_state=self.seed), standard(features), data)
        return lambda x: found(standard(x))


def rival_options(section: Mapping[str, Any]) -> RivalOptions:
    """Make the options of a rival from its section of a configuration, `name` among it.

    Raises:
        InputError: no such rival or option, or a value that an option does not take.
    """
    options: type[RivalOptions] = Rival.find(str(section.get("name"))).options_class
    given = {f"rival.{option}": value for option, value in section.items()}
    check_names(given, dict(option_types(options, {}, "rival.")))
    return options(**section)


def run_rival(config: Mapping[str, Any], data: TrainingSet, *, tested: bool) -> dict[str, Any]:
    """Fit the rival of a configuration, and measure it as a network is: see `matcard.comparison.results.measured`.

    Raises:
        InputError: unknown options, or data that it cannot be fitted to.
    """
    options = rival_options(config["rival"])
    kind: type[Rival[Any]] = Rival.find(options.name)
    features = features_of(data, options)
    probabilities = kind(options, int(config["seed"])).fit(features, data)

    def score(part: str) -> Any:
        positions = getattr(data.split, part)
        return data.codes[positions], probabilities(features[positions])

    return measured(
        score,
        tested=tested,
        decision=DecisionOptions(**config["decision"]),
        class_names=data.class_names,
        train_counts=np.bincount(data.codes[data.split.train], minlength=len(data.class_names)),
    )


def features_of(data: TrainingSet, options: RivalOptions, jobs: int = 1) -> Float[np.ndarray, "N F"]:
    """Describe samples by numbers.

    Crystals are the descriptors that the rival names or else the data have, or matminer's Magpie features of their
    composition where there are none; all else is as it is.

    Raises:
        InputError: a crystal that a descriptor has no numbers for.
    """
    inputs = data.samples.inputs
    if not isinstance(inputs, Crystals):
        return np.asarray(inputs, dtype=np.float32).reshape(len(inputs), -1)
    described = getattr(data.dataset, "descriptors", None)
    if options.descriptors is not None or described is None:
        found = describe(
            find_descriptors(options.descriptors or "magpie"), inputs, cache_dir() / "descriptors", jobs=jobs
        )
        if missing := [reason for reason in found.reasons if reason is not None]:
            raise InputError(f"rival.descriptors {options.descriptors}: {missing[0]}")
        described = found.values
    return np.asarray(described, dtype=np.float64)


def fitted(classifier: Any, features: Float[np.ndarray, "N F"], data: TrainingSet) -> Probabilities:
    """Fit a classifier of scikit-learn to the training part; a class that is not in it has probability 0."""
    classifier.fit(features[data.split.train], data.codes[data.split.train])

    def probabilities(x: Any) -> Float[np.ndarray, "n C"]:
        found = np.zeros((len(x), len(data.class_names)))
        found[:, classifier.classes_] = classifier.predict_proba(x)
        return found

    return probabilities


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
