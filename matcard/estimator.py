"""A scikit-learn classifier of crystals, or of rows of numbers: `from matcard import CrystalClassifier`."""

from __future__ import annotations

import tempfile
import warnings
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd
import torch
from lightning.pytorch.utilities.seed import isolate_rng
from rich.console import Console
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_consistent_length, check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data

from matcard.crystals.crystals import Crystals, objects
from matcard.crystals.neighbors import GraphOptions
from matcard.crystals.read import from_objects, read_crystals
from matcard.data.crystals import CrystalKind
from matcard.data.dataset import TrainingSet, standardisation
from matcard.data.dealing import deal
from matcard.data.groups import default_groups, group_keys, reduced_formulas
from matcard.data.labels import Labels
from matcard.data.rows import RowKind
from matcard.data.samples import Samples
from matcard.data.splits import Split
from matcard.errors import InputError, MatcardWarning
from matcard.evaluation.decision import DecisionOptions
from matcard.losses import Loss
from matcard.models import Classifier
from matcard.prediction.modelfile import save_model
from matcard.prediction.network import read_out
from matcard.prediction.predictor import load_run, predictor_of
from matcard.training.batches import DataModule
from matcard.training.fit import check_config, fit
from matcard.training.options import Config, OptimizerOptions, TrainerOptions
from matcard.training.results import describe_model
from matcard.training.rundir import RunDir

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from jaxtyping import Float64, Shaped

    from matcard.losses import LossOptions
    from matcard.models import ModelOptions
    from matcard.prediction.predictor import Predictor

_PARTS: dict[str, Callable[[str], Any]] = {
    "loss": lambda name: Loss.find(name).options_class(),
    "model": lambda name: Classifier.find(name).options_class(),
}
"""Parts that can be given by name, and what makes their options."""
_DEFAULTS = {
    "optimizer": OptimizerOptions,
    "trainer": TrainerOptions,
    "decision": DecisionOptions,
    "graph": GraphOptions,
}
"""Parts that are options alone."""
_SHORT = {"max_epochs": "trainer", "batch_size": "trainer", "lr": "optimizer"}
"""Options of parts that are given by themselves, too, and go before them."""


class CrystalClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Finds the class of crystals by a crystal-graph network, or of rows of numbers by a perceptron.

    A share of what it is fitted on is held back for validation: it chooses the best epoch, the decision rule and the
    calibration. No formula (of rows: no row) stands on both sides of that division.

    Args:
        loss: name of a loss, or its options.
        model: name of a model, or its options; where not given `cgcnn` for crystals and `mlp` for rows.
        optimizer: options of the update rule.
        trainer: options of the training.
        decision: options of the decision rule that `predict` uses.
        graph: which neighbours become edges.
        max_epochs: epochs at most, before `trainer`.
        batch_size: samples a step, before `trainer`.
        lr: learning rate at its highest, before `optimizer`.
        validation: share of the samples that are held back.
        random_state: of the division, the first weights and the order of batches.
        run_dir: new directory where checkpoints and metrics of the epochs are written; nowhere where not given.

    Options of parts are parameters, too: `loss__scale`, `trainer__patience`.

    Attributes:
        classes_: (C,) in sorted order.
        predictor_: what predicts: see `matcard.prediction.predictor.Predictor`.
    """

    def __init__(
        self,
        loss: str | LossOptions = "reweight",
        model: str | ModelOptions | None = None,
        optimizer: OptimizerOptions | None = None,
        trainer: TrainerOptions | None = None,
        *,
        decision: DecisionOptions | None = None,
        graph: GraphOptions | None = None,
        max_epochs: int | None = None,
        batch_size: int | None = None,
        lr: float | None = None,
        validation: float = 0.15,
        random_state: Any = 0,
        run_dir: str | Path | None = None,
    ) -> None:
        self.loss = loss
        self.model = model
        self.optimizer = optimizer
        self.trainer = trainer
        self.decision = decision
        self.graph = graph
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.lr = lr
        self.validation = validation
        self.random_state = random_state
        self.run_dir = run_dir

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Give the parameters, and with `deep` the options of parts as `part__option`."""
        found = {name: getattr(self, name) for name in self._get_param_names()}
        if deep:
            for part in (*_PARTS, *_DEFAULTS):
                try:
                    options = self._options(part)
                except InputError:  # an unknown name is told where it is used
                    continue
                if is_dataclass(options):
                    names = [field.name for field in fields(options) if field.init and field.name != "name"]
                    found |= {f"{part}__{name}": getattr(options, name) for name in names}
        return found

    def set_params(self, **params: Any) -> Self:
        """Set parameters, and options of parts as `part__option`; parts themselves first.

        Raises:
            ValueError: no such parameter.
            InputError: a value that an option does not take.
        """
        within = {name: value for name, value in params.items() if "__" in name}
        super().set_params(**{name: value for name, value in params.items() if name not in within})
        for name, value in within.items():
            part, _, option = name.partition("__")
            options = self._options(part) if part in (*_PARTS, *_DEFAULTS) else None
            if options is None or option not in [field.name for field in fields(options)]:
                raise ValueError(f"invalid parameter {name!r} for estimator {self!r}")
            setattr(self, part, replace(options, **{option: value}))
        return self

    def fit(self, X: Any, y: Any, groups: Any = None) -> Self:
        """Train on N crystals or rows.

        Args:
            X: pymatgen `Structure` and ASE `Atoms` objects, mixed as you like, or paths of structure files; or (N, F)
                numbers.
            y: (N,) classes.
            groups: (N,) what is on one side of the division into training and validation part; formulas by default.

        Raises:
            InputError: a structure that cannot be used, by its index; a missing class; options or data that cannot be
                trained on; a `run_dir` that holds files.
            ValueError: numbers of different lengths, or of one class.
        """
        y = column_or_1d(y, warn=True)
        if len(missing := np.flatnonzero(pd.isna(y))):
            raise InputError(f"y[{missing[0]}] is missing: give each sample a class, or leave it out")
        if self.run_dir is not None and Path(self.run_dir).is_dir() and any(Path(self.run_dir).iterdir()):
            raise InputError(f"run_dir {self.run_dir} exists and is not empty: name a new directory")
        samples = self._samples(X, fitting=True)
        check_consistent_length(samples.ids, y, *([] if groups is None else [groups]))
        check_classification_targets(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"{type(self).__name__} needs two classes, and y holds one class: {self.classes_[0]}")
        labels = Labels(codes.astype(np.int64), tuple(map(str, self.classes_)), "y")
        samples = replace(samples, labels=labels, columns=samples.columns.assign(y=np.asarray(y)))
        random = check_random_state(self.random_state)
        seed = self.random_state if isinstance(self.random_state, int) else int(random.randint(2**31))
        config = self._config(samples, seed)
        check_config(config)
        keys = group_keys(samples, default_groups(samples)) if groups is None else np.asarray(groups)
        data = DataModule(self._divided(samples, keys, seed), config)
        with tempfile.TemporaryDirectory() as scratch, warnings.catch_warnings(), isolate_rng():
            warnings.simplefilter("ignore", MatcardWarning)
            run = RunDir(Path(scratch if self.run_dir is None else self.run_dir))
            module = fit(run, config, data, Console(quiet=True))
            assert module is not None, "a classifier is trained by one process"
            heads = {part: read_out(module.network, data.eval_dataloader(part)) for part in ("train", "val")}
            description, tensors, _ = describe_model(config, module, data, heads)
        saved = replace(description, config={**description.config, "classes": self.classes_.tolist()})
        self.predictor_: Predictor = predictor_of(saved, tensors)
        return self

    def predict(self, X: Any) -> Shaped[np.ndarray, " N"]:
        """Give the class of each sample by the decision rule that was chosen on the validation part.

        Raises:
            NotFittedError: it was not fitted.
            InputError: a structure that cannot be used, by its index.
        """
        probabilities = self._probabilities(X)
        return np.asarray(self.classes_[self.predictor_.decision.apply(probabilities)])

    def predict_proba(self, X: Any) -> Float64[np.ndarray, "N C"]:
        """Give class probabilities, calibrated on the validation part, in the order of `classes_`."""
        probabilities = self._probabilities(X)
        return np.asarray(self.predictor_.description.temperature.apply(probabilities))

    def save(self, path: str | Path) -> None:
        """Write the fitted classifier to a folder, from which `load` and `matcard.load_run` read it without pickle."""
        check_is_fitted(self)
        (member,) = self.predictor_.members
        tensors = member.network.state_dict() | {"reference.embeddings": torch.from_numpy(member.reference.embeddings)}
        save_model(Path(path), member.description, tensors)

    @classmethod
    def load(cls, path: str | Path, *, device: str = "auto") -> Self:
        """Read a classifier that `save` wrote; its parameters are the defaults.

        Raises:
            InputError: no such folder, or a damaged one.
        """
        found = cls()
        found.predictor_ = load_run(path, device=device)
        description = found.predictor_.description
        found.classes_ = np.array(description.config.get("classes", list(description.class_names)))
        if isinstance(found.predictor_.kind, RowKind):
            found.n_features_in_ = len(found.predictor_.kind.features)
        return found

    def _options(self, part: str) -> Any:
        given = getattr(self, part)
        if part in _DEFAULTS:
            return _DEFAULTS[part]() if given is None else given
        return _PARTS[part](given) if isinstance(given, str) else given

    def _config(self, samples: Samples, seed: int) -> Config:
        crystals = isinstance(samples.kind, CrystalKind)
        parts = {part: self._options(part) for part in ("loss", "model", "optimizer", "trainer", "decision")}
        for part, options in parts.items():
            if not (is_dataclass(options) or (part == "model" and options is None)):
                raise InputError(f"{part} is {options!r}: a name or an object of options was expected")
        if parts["model"] is None:
            parts["model"] = _PARTS["model"]("cgcnn" if crystals else "mlp")
        for name, part in _SHORT.items():
            if getattr(self, name) is not None:
                parts[part] = replace(parts[part], **{name: getattr(self, name)})
        if parts["trainer"].devices != 1 or parts["trainer"].num_nodes != 1:
            raise InputError("trainer: CrystalClassifier trains on one device; python -m matcard.train takes several")
        config = Config(**parts, seed=seed, report=False)
        return replace(config, data=replace(config.data, kind=samples.kind.name, graph=self._options("graph")))

    def _divided(self, samples: Samples, groups: Shaped[np.ndarray, " N"], seed: int) -> TrainingSet:
        """Hold a share of the samples back; there is no test part."""
        if not 0 < self.validation < 1:
            raise InputError(f"validation is {self.validation}: expected a share between 0 and 1")
        shares = np.array([1 - self.validation, self.validation])
        part = deal(samples.codes, groups, shares, np.random.default_rng(seed))
        none = np.empty(0, np.int64)
        split = Split(np.flatnonzero(part == 0), np.flatnonzero(part == 1), none, "groups", seed)
        dataset = samples.kind.dataset(samples.inputs, samples.codes)
        arguments = samples.kind.model_arguments
        if "input_shape" in arguments:
            mean, std = standardisation(samples.inputs, split, "train")
            arguments = {**arguments, "mean": mean, "std": std}
        return TrainingSet(samples, split, dataset, arguments)

    def _probabilities(self, X: Any) -> Float64[np.ndarray, "N C"]:
        check_is_fitted(self)
        found = self.predictor_.read(self._samples(X, fitting=False))
        _refuse(found.faults)
        return found.scores[0].probabilities

    def _samples(self, X: Any, *, fitting: bool) -> Samples:
        kind = None if fitting else self.predictor_.kind
        if isinstance(kind, RowKind) or (kind is None and not _is_crystals(X)):
            numbers = validate_data(self, X, reset=fitting, dtype=np.float64)
            names = tuple(f"x{k}" for k in range(numbers.shape[1]))
            kind = RowKind("table", names, features=names)
            ids = objects(map(str, range(len(numbers))))
            where = objects(f"X[{k}]" for k in range(len(numbers)))
            frame = pd.DataFrame(index=range(len(numbers)))
            return Samples(ids, where, numbers, frame, objects([None] * len(numbers)), kind)
        listed = list(X)
        if all(isinstance(item, str | Path) for item in listed):
            crystals = read_crystals([Path(item) for item in listed], repeats=True)
            if len(crystals) != len(listed):
                raise InputError(f"{len(listed)} paths hold {len(crystals)} structures: give a file for each")
        else:
            crystals = _crystals_of(listed)
        _refuse(crystals.faults)
        of_crystals = kind if isinstance(kind, CrystalKind) else CrystalKind(self._options("graph"))
        return of_crystals.samples(crystals)


def formula_groups(structures: Iterable[Any]) -> Shaped[np.ndarray, " N"]:
    """Give the reduced formula of each structure, for `groups` of scikit-learn's splitters.

    Args:
        structures: objects of pymatgen and ASE, mixed.

    Raises:
        InputError: a structure that cannot be used, by its index.
    """
    crystals = _crystals_of(list(structures))
    _refuse(crystals.faults)
    return reduced_formulas(crystals)


def _crystals_of(listed: list[Any]) -> Crystals:
    return from_objects(listed, columns=pd.DataFrame(index=range(len(listed))))


def _is_crystals(X: Any) -> bool:
    """Say whether what is to be learned from is a sequence of structures or paths, not numbers."""
    if isinstance(X, np.ndarray) and X.dtype.kind != "O":
        return False
    if hasattr(X, "dtypes") or not hasattr(X, "__len__") or hasattr(X, "tocsr") or not len(X):
        return False
    first = X[0]
    return isinstance(first, str | Path) or hasattr(first, "lattice") or hasattr(first, "get_scaled_positions")


def _refuse(faults: Shaped[np.ndarray, " N"]) -> None:
    for k, fault in enumerate(faults):
        if fault is not None:
            raise InputError(f"X[{k}]: {fault}")
