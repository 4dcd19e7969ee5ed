"""`CrystalClassifier`: the training of the commands as a classifier of scikit-learn, over objects in place of files."""

from __future__ import annotations

import os
from collections.abc import Collection
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from lightning.pytorch.utilities.seed import isolate_rng
from rich.console import Console
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_consistent_length, check_random_state, column_or_1d
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from matcard.cli import make_console
from matcard.crystals.crystals import is_none, reduced_formulas
from matcard.crystals.decode import object_decoder
from matcard.data.crystals import CrystalKind
from matcard.data.groups import default_groups, group_keys
from matcard.data.labels import Labels
from matcard.data.options import ABOUT, DataKind, DataOptions
from matcard.data.read import open_inputs, training_set
from matcard.data.rows import RowKind
from matcard.data.splits import inner_split
from matcard.descriptors.describe import check_without_source
from matcard.errors import InputError, listed
from matcard.graphs.neighbors import GraphOptions
from matcard.prediction.modelfile import FOLDER
from matcard.prediction.predictor import Predictor, load_run
from matcard.training.config import config_from_dict
from matcard.training.fit import check_config
from matcard.training.options import PARTS, Config, ValueOptions, changed, flat, part_options
from matcard.training.run import carry_on
from matcard.training.rundir import RunDir

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import Self

    from jaxtyping import Float64, Shaped
    from numpy.typing import ArrayLike

    from matcard.data.samples import Samples
    from matcard.evaluation.decision import DecisionOptions
    from matcard.losses import LossOptions
    from matcard.models import ModelOptions
    from matcard.training.options import OptimizerOptions, TrainerOptions

_SOURCE = "objects given to CrystalClassifier.fit"
"""What stands for a file in the configuration of a run."""


class CrystalClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Classifier of crystals, or of rows of numbers: a network trained as `matcard.train` does, without any file.

    X is a list (or Series) of pymatgen `Structure` and ASE `Atoms` objects and paths of structure files, mixed as you
    like, or else an array or DataFrame of numbers, (N, F). Parts are options objects, such as
    `matcard.models.CGCNNOptions(width=32)`, or their names, such as `"focal"`; what they hold is a parameter, too, by
    two underscores: `loss__scale`, `model__width`, `trainer__patience`.

    Args:
        loss: a name of `matcard.losses.Loss.names()`, or options; by default that of `matcard.train`.
        model: a name of `matcard.models.Classifier.names()`, or options; by default `cgcnn` of crystals, `mlp` of rows.
        descriptors: fixed numbers of crystals that the network gets, too: a name or a list, as `magpie` or `chgnet`;
            see the option `--data.descriptors` of `matcard.train`. They are kept in the cache.
        optimizer: `adamw`, `adam`, `sgd`, or `OptimizerOptions`.
        trainer: `TrainerOptions`; on one device.
        decision: name of a rule, or `DecisionOptions`: how `predict` comes from the probabilities, chosen on the
            validation part. `argmax` is the most likely class.
        graph: `GraphOptions`: which neighbours of an atom become edges.
        deuterium: whether D in CIF files is read as hydrogen, in `fit` and afterwards.
        max_epochs: goes before that of `trainer`.
        batch_size: goes before that of `trainer`.
        lr: goes before that of `optimizer`.
        value_weight: weight of the error of `values` of `fit` beside the loss of the classes.
        validation_fraction: share of the samples that `fit` holds out to choose the epoch, the decision and the
            calibration.
        random_state: seed of that split, the weights and the order of batches.
        run_dir: new directory that is left as by `matcard.train`, without a test part; nothing is written where it is
            not given.
        verbose: print what `matcard.train` prints.

    Attributes:
        classes_: (C,) the classes, sorted.
        predictor_: `matcard.prediction.predictor.Predictor`: embeddings, and tables that say what is unlike training.
        n_features_in_: F, of rows alone.
        feature_names_in_: (F,) names of the columns of a DataFrame.
    """

    def __init__(
        self,
        loss: LossOptions | str | None = None,
        model: ModelOptions | str | None = None,
        *,
        descriptors: str | Sequence[str] = "none",
        optimizer: OptimizerOptions | str | None = None,
        trainer: TrainerOptions | None = None,
        decision: DecisionOptions | str | None = None,
        graph: GraphOptions | None = None,
        deuterium: bool = False,
        max_epochs: int | None = None,
        batch_size: int | None = None,
        lr: float | None = None,
        value_weight: float = 1.0,
        validation_fraction: float = 0.15,
        random_state: int | np.random.RandomState | None = 0,
        run_dir: str | os.PathLike[str] | None = None,
        verbose: bool = False,
    ) -> None:
        self.loss = loss
        self.model = model
        self.descriptors = descriptors
        self.optimizer = optimizer
        self.trainer = trainer
        self.decision = decision
        self.graph = graph
        self.deuterium = deuterium
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.lr = lr
        self.value_weight = value_weight
        self.validation_fraction = validation_fraction
        self.random_state = random_state
        self.run_dir = run_dir
        self.verbose = verbose

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Give the parameters; with `deep` those within the parts, too, such as `loss__scale`."""
        params: dict[str, Any] = super().get_params(deep=False)
        for part in PARTS if deep else ():
            with suppress(InputError):  # what `fit` refuses has no options
                params |= flat(part, part_options(part, params[part]))
        return params

    def set_params(self, **params: Any) -> Self:
        """Set parameters; those within a part, such as `loss__scale`, after the part itself.

        Raises:
            InputError: an option that the part does not have, or a value that it cannot have.
        """
        within: dict[str, dict[str, Any]] = {}
        for name in [name for name in params if "__" in name]:
            part, _, option = name.partition("__")
            if part in PARTS:
                within.setdefault(part, {})[option] = params.pop(name)
        super().set_params(**params)
        for part, changes in within.items():
            setattr(self, part, changed(part_options(part, getattr(self, part)), changes, part))
        return self

    def fit(self, X: Any, y: ArrayLike, groups: ArrayLike | None = None, values: Any = None) -> Self:
        """Train on N samples.

        Args:
            X: structures, paths of structure files, or rows of numbers.
            y: (N,) the class of each.
            groups: (N,) what must not be divided between training and validation; by default the reduced formula of
                crystals, and rows of the same numbers.
            values: (N,) or (N, V) further numbers to learn, NaN where missing, which can help the classes;
                `predictor_.predict` gives them, too. Columns without a name are called `value0`, `value1`, ...

        Raises:
            InputError: structures that cannot be used, by their index; labels or options that cannot be used.
            TrainingError: the loss stopped being finite.
        """
        target = str(getattr(y, "name", None) or "y")
        numbers = _numbers(values)
        target = f"class by {target}" if target in numbers else target
        config = self._config("crystals" if _holds_crystals(X) else "table", target, [*map(str, numbers)])
        check_config(config)
        if config.data.kind == "crystals":
            kind = CrystalKind(config.data.graph, deuterium=config.data.deuterium)
            samples = _sound(kind.wrap(X, [f"X[{k}]" for k in range(len(X))]))
            if config.data.descriptors != "none":
                check_without_source(config.data.descriptors)
                samples = _sound(CrystalKind.of(config.data, samples.inputs).samples(samples.inputs))
            if y is None:
                raise InputError("y is None: fit takes the class of each structure")
        else:
            X, y = validate_data(self, X, y, dtype=np.float64, ensure_min_samples=2)
            samples = _rows(X, self._columns())
        check_consistent_length(samples.ids, y, groups, None if values is None else numbers)
        classes, names, codes = _classes(y)
        labels = Labels(codes, names, target)
        samples = replace(samples, columns=numbers.assign(**{target: np.array(names, object)[codes]}), labels=labels)
        keys, by = self._groups(samples, groups)
        split = inner_split(codes, keys, self.validation_fraction, kind=by, seed=config.seed, class_names=names)
        samples, dataset = open_inputs(samples, config.data, graphs=config.model.sees_graphs, kept=False)
        with self._directory(config) as run, isolate_rng():
            console = make_console() if self.verbose else Console(quiet=True, force_terminal=False)
            carry_on(run, config, samples, training_set(samples, split, dataset, config.data), console)
            device = "cpu" if config.trainer.accelerator == "cpu" else "auto"
            (member,) = load_run(run.path, device=device).members
            made = {**member.description.target, "classes": classes.tolist()}
            member = member._replace(description=replace(member.description, target=made))
            if self.run_dir is not None:
                member.save(run.path / FOLDER)
        self.classes_ = classes
        self.predictor_ = Predictor([member], next(member.network.parameters()).device)
        return self

    def predict(self, X: Any) -> Shaped[np.ndarray, " n"]:
        """Give the class of each of n samples, by the decision that was chosen on the validation part.

        Raises:
            InputError: structures that cannot be used, by their index.
        """
        probabilities = self._probabilities(X)
        return np.asarray(self.classes_[self.predictor_.decision.apply(probabilities)])

    def predict_proba(self, X: Any) -> Float64[np.ndarray, "n C"]:
        """Give the probability of each class, calibrated by the temperature that was fitted on the validation part.

        Raises:
            InputError: structures that cannot be used, by their index.
        """
        probabilities = self._probabilities(X)
        return self.predictor_.description.calibration.apply(probabilities)

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write a folder in the format of a run's `model` folder, which `load` and `matcard.predict` take.

        Raises:
            sklearn.exceptions.NotFittedError: `fit` was not called.
        """
        check_is_fitted(self)
        for member in self.predictor_.members:
            member.save(Path(folder))

    @classmethod
    def load(cls, path: str | os.PathLike[str], device: str = "auto") -> Self:
        """Load what `save` wrote, or any finished run; nothing in its files is executed.

        Args:
            path: directory of a run, or its `model` folder.
            device: as `matcard.load_run` takes it.

        Raises:
            InputError: as `matcard.load_run`.
        """
        predictor = load_run(Path(path), device=device)
        description = predictor.description
        config = config_from_dict(description.config)
        parts = {part: getattr(config, part) for part in PARTS if part != "graph"}
        parts |= {name: getattr(config.data, name) for name in ("graph", "descriptors", "deuterium")}
        estimator = cls(**parts, value_weight=config.value.weight, random_state=config.seed)
        estimator.predictor_ = predictor
        estimator.classes_ = np.array(description.target.get("classes", description.class_names))
        if isinstance(predictor.kind, RowKind):
            names = predictor.kind.names
            estimator.n_features_in_ = len(names)
            if names != tuple(f"x{k}" for k in range(len(names))):
                estimator.feature_names_in_ = np.array(names, dtype=object)
        return estimator

    def _config(self, kind: DataKind, target: str, values: Sequence[str] = ()) -> Config:
        """Lay the parameters out as the configuration of a run."""
        parts = {part: part_options(part, getattr(self, part)) for part in PARTS}
        if self.model is None:
            parts["model"] = part_options("model", ABOUT[kind].network)
        for name, part in (("max_epochs", "trainer"), ("batch_size", "trainer"), ("lr", "optimizer")):
            if (value := getattr(self, name)) is not None:
                parts[part] = replace(parts[part], **{name: value})
        if parts["trainer"].devices != 1 or parts["trainer"].num_nodes != 1:
            raise InputError("trainer: CrystalClassifier trains on one device; python -m matcard.train takes several")
        seed = self.random_state
        if not isinstance(seed, int | np.integer):
            seed = check_random_state(seed).randint(np.iinfo(np.int32).max)
        data = DataOptions(
            source=_SOURCE,
            kind=kind,
            target=target,
            auxiliary=list(values) or None,
            descriptors=self.descriptors if isinstance(self.descriptors, str) else ",".join(self.descriptors),
            graph=parts.pop("graph"),
            deuterium=self.deuterium,
            jobs=1,
        )
        value = ValueOptions(weight=self.value_weight)
        run_dir = None if self.run_dir is None else os.fspath(self.run_dir)
        return Config(data=data, value=value, seed=int(seed), run_dir=run_dir, report=False, **parts)

    @contextmanager
    def _directory(self, config: Config) -> Iterator[RunDir]:
        """Give the directory of the run: the one that was asked for, or one that is removed at the end."""
        if config.run_dir is not None:
            yield RunDir.planned(config)
            return
        with TemporaryDirectory(prefix="matcard-") as folder:
            try:
                yield RunDir(Path(folder))
            except KeyboardInterrupt:
                raise KeyboardInterrupt("stopped; nothing is kept, since no run_dir was given") from None

    def _groups(self, samples: Samples, groups: ArrayLike | None) -> tuple[Shaped[np.ndarray, " N"], str]:
        """Give what is not divided, and how it is called."""
        by = default_groups(samples) if groups is None else "groups"
        keys = group_keys(samples, by) if groups is None else column_or_1d(groups)
        if len(set(keys.tolist())) < 2:
            raise InputError(
                f"all {len(samples)} samples are of one group ({by} {keys[0]}), so that none can be held out for "
                "validation: give fit other groups, such as groups=numpy.arange(len(y)) where samples do not repeat"
            )
        return keys, by

    def _probabilities(self, X: Any) -> Float64[np.ndarray, "n C"]:
        """Give what the network says, not calibrated, as the decision takes it."""
        check_is_fitted(self)
        kind = self.predictor_.kind
        if isinstance(kind, RowKind) and kind.name == "table":
            if _holds_crystals(X):
                raise InputError("X holds structures, and the classifier was fitted on rows of numbers")
            samples = _rows(validate_data(self, X, dtype=np.float64, reset=False), kind.names)
        else:
            samples = kind.wrap(X, None)
        found = self.predictor_.read(_sound(samples))
        _sound(replace(samples, faults=found.faults))
        return found.scores[0].probabilities

    def _columns(self) -> tuple[str, ...]:
        """Name the columns of the rows that were given last."""
        names = tuple(getattr(self, "feature_names_in_", ()))
        return names if len(set(names)) == self.n_features_in_ else tuple(f"x{k}" for k in range(self.n_features_in_))


def formula_groups(structures: Iterable[Any]) -> Shaped[np.ndarray, " N"]:
    """Give the reduced formula of each of N structures, for splits that keep those of a formula together.

    Args:
        structures: as `CrystalClassifier` takes them.

    Returns:
        (N,) object array of str, such as `SrTiO3`.

    Raises:
        InputError: structures that cannot be used, by their index.
    """
    return reduced_formulas(_sound(CrystalKind(GraphOptions()).wrap(structures, None)).inputs)


def _holds_crystals(X: Any) -> bool:
    """Say whether X is structures or their paths; all else is taken for rows of numbers."""
    if object_decoder(X) is not None:
        raise InputError(f"X is a single {type(X).__name__}: give a list of structures")
    if isinstance(X, str) or not isinstance(X, Collection) or getattr(X, "ndim", 1) != 1 or not len(X):
        return False
    first = next(iter(X))
    return isinstance(first, str | os.PathLike) or object_decoder(first) is not None


def _rows(values: Float64[np.ndarray, "n F"], names: Sequence[str]) -> Samples:
    """Take rows of numbers."""
    numbers = [str(k) for k in range(len(values))]
    frame = pd.DataFrame(values, columns=pd.Index(names))
    return RowKind("table", tuple(names)).samples(frame, numbers, [f"X[{k}]" for k in numbers])


def _numbers(values: Any) -> pd.DataFrame:
    """Lay numbers to be learned out as columns; none where none are given."""
    table = pd.DataFrame(values).reset_index(drop=True)
    return table.set_axis([name if isinstance(name, str) else f"value{k}" for k, name in enumerate(table)], axis=1)


def _sound(samples: Samples) -> Samples:
    """Give the samples where all of them can be used.

    Raises:
        InputError: some cannot; the first are named, with the reason.
    """
    bad = np.flatnonzero(~is_none(samples.faults)).tolist()
    if bad:
        said = listed((f"{samples.where[k]}: {samples.faults[k]}" for k in bad), 5)
        raise InputError(f"{len(bad)} of {len(samples)} {samples.kind.unit} cannot be used; leave them out. {said}")
    return samples


def _classes(y: ArrayLike) -> tuple[Shaped[np.ndarray, " C"], tuple[str, ...], Shaped[np.ndarray, " N"]]:
    """Give the classes, how they are called, and which each sample is of.

    Raises:
        ValueError: no classes, but numbers with fractions, or several columns.
        InputError: a label is missing, or all are the same.
    """
    given = column_or_1d(y, warn=True)
    missing = np.flatnonzero(pd.isna(given))
    if len(missing):
        raise InputError(f"y[{missing[0]}] is missing: give each sample a class, or leave it out")
    check_classification_targets(given)
    classes, codes = np.unique(given, return_inverse=True)
    if len(classes) < 2:
        raise InputError(f"y holds one class, {classes[0]!r}, in all {len(given)} samples: two or more are needed")
    names = tuple(str(int(name)) if isinstance(name, float) else str(name) for name in classes.tolist())
    return classes, names, codes
