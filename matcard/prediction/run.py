"""A finished run, loaded for prediction: from samples to probabilities and embeddings."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from matcard.errors import InputError
from matcard.models import Classifier, build_model
from matcard.prediction.applicability import Reference
from matcard.prediction.centroid import CentroidClassifier
from matcard.prediction.inputs import stored_inputs
from matcard.prediction.modelfile import DESCRIPTION, FOLDER, ModelDescription, model_folder, read_model
from matcard.prediction.network import Network, read_out

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import pandas as pd
    from jaxtyping import Float32, Float64
    from torch import Tensor
    from torch.utils.data import Dataset

    from matcard.prediction.inputs.base import Inputs
    from matcard.training.options import Config

BATCH_SIZE = 256
"""Samples that go through the network together."""


class Read(NamedTuple):
    """What a network reads out of n samples."""

    probabilities: Float64[np.ndarray, "n C"]
    embeddings: Float32[np.ndarray, "n F"]

    @classmethod
    def join(cls, parts: Iterable[Read]) -> Read:
        """Put several together, in order."""
        return cls(*map(np.concatenate, zip(*parts, strict=True)))


class Run:
    """A trained network with its classes, its decision rule and what it knows of its training part.

    `load_run` makes one.

    Args:
        path: where it was read from, for messages.
        description: all that is known of the network.
        inputs: what it takes.
        network: its weights loaded.
        reference: embeddings of the training part.
        device: to compute on.
    """

    def __init__(
        self,
        path: Path,
        description: ModelDescription,
        inputs: Inputs[Any],
        network: Network,
        reference: Reference,
        device: torch.device,
    ) -> None:
        self.path = path
        self.description = description
        self.inputs = inputs
        self.network = network.eval().to(device)
        self.reference = reference
        self.device = device

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r}, classes={list(self.class_names)}, device={str(self.device)!r})"

    @property
    def class_names(self) -> tuple[str, ...]:
        """The C classes, in the order of the probabilities."""
        return self.description.class_names

    @property
    def nothing(self) -> Read:
        """What is read out of no samples."""
        width = self.reference.embeddings.shape[1]
        return Read(np.empty((0, len(self.class_names))), np.empty((0, width), np.float32))

    @cached_property
    def config(self) -> Config:
        """The options that the run was trained with.

        Raises:
            InputError: the run is of another version, whose options were others; `description.config` holds them.
        """
        from matcard.training.config import config_from_dict

        return config_from_dict(self.description.config)

    def predict(
        self,
        objects: Iterable[Any],
        *,
        ids: Sequence[str] | None = None,
        batch_size: int = BATCH_SIZE,
        calibrated: bool = False,
    ) -> pd.DataFrame:
        """Predict the class of crystals, compositions, table rows or images, whatever the run was trained on.

        Args:
            objects: pymatgen `Structure` and ASE `Atoms` objects, mixed as you like; a pandas DataFrame with the
                columns of training, or a list of formulas; an array of images.
            ids: one for each; by default those of a DataFrame, or the positions 0, 1, ...
            batch_size: samples that go through the network together.
            calibrated: divide the log-probabilities by the temperature that was fitted on validation. The predicted
                classes stay the same: the decision rule was chosen on probabilities as the network gives them.

        Returns:
            a row for each sample, in order, with the columns of `matcard.prediction.table.columns`. One that cannot
            be used has the reason in `error` and no prediction.

        Raises:
            InputError: objects of another kind, or ids that are not as many.
        """
        from matcard.prediction.ensemble import Ensemble

        return Ensemble([self]).predict(objects, ids=ids, batch_size=batch_size, calibrated=calibrated)

    def embed(self, objects: Iterable[Any], *, batch_size: int = BATCH_SIZE) -> Float32[np.ndarray, "n F"]:
        """Give the embedding of samples, the vector that feeds the network's head.

        Args:
            objects: as `predict` takes them.
            batch_size: samples that go through the network together.

        Returns:
            a row for each sample, in order; NaN where it cannot be used, with a `MatcardWarning` that says why.
        """
        from matcard.prediction.ensemble import Ensemble

        return Ensemble([self]).embed(objects, batch_size=batch_size)[0]

    def read(self, dataset: Dataset[Any], batch_size: int = BATCH_SIZE) -> Read:
        """Give probabilities (float64, as the network gives them) and embeddings of n samples.

        Args:
            dataset: of `inputs`.
            batch_size: samples that go through the network together.

        Raises:
            InputError: an element that the network has no features for.
        """
        total = len(dataset)  # type: ignore[arg-type]
        parts = (range(start, min(start + batch_size, total)) for start in range(0, total, batch_size))
        return Read(*read_out(self.network, map(dataset.__getitems__, parts))[2:])  # type: ignore[attr-defined]


def load_run(path: str | Path, *, device: str = "auto") -> Run:
    """Load a finished run, or its `model` folder alone, for prediction. Nothing in its files is executed.

    Args:
        path: directory of the run, or its `model` folder wherever it was moved.
        device: `cpu`, `cuda`, `cuda:1`, `mps`, or `auto`: the first GPU where there is one.

    Raises:
        InputError: no finished run there, damaged files, another format, or no such device.
    """
    path = Path(path)
    folder = model_folder(path)
    if folder is None:
        raise InputError(_no_model(path))
    description, tensors = read_model(folder)
    inputs = _inputs(description, folder)
    network = _network(description, inputs, tensors, folder)
    reference = Reference(_take(tensors, "reference.", folder)["embeddings"].numpy(), description.novelty_limit)
    return Run(path, description, inputs, network, reference, find_device(device))


def find_device(name: str) -> torch.device:
    """Give the device of a name.

    Raises:
        InputError: there is none of it here.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"--device {name}: not to be had here; use auto or cpu") from error
    return device


def _inputs(description: ModelDescription, folder: Path) -> Inputs[Any]:
    try:
        return stored_inputs(description.kind, description.inputs)
    except (KeyError, TypeError) as error:
        raise InputError(
            f"{folder / DESCRIPTION}: inputs that this version does not know ({type(error).__name__}: {error}); it was "
            f"written by matcard {description.matcard_version}"
        ) from error


def _network(description: ModelDescription, inputs: Inputs[Any], tensors: dict[str, Tensor], folder: Path) -> Network:
    values = {**description.model, "init_from": None, "freeze": False}
    try:
        options = Classifier.find(values["name"]).options_class(**values)
    except (KeyError, TypeError) as error:
        raise InputError(
            f"{folder}: model options that this version does not know ({error}); it was written by matcard "
            f"{description.matcard_version}"
        ) from error
    centroids = None
    if any(name.startswith("centroids.") for name in tensors):
        centroids = CentroidClassifier()
    model = build_model(options, num_classes=len(description.class_names), **inputs.model_arguments)
    network = Network(model, centroids)
    state = {name: value for name, value in tensors.items() if not name.startswith("reference.")}
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise InputError(f"{folder}: weights and description do not fit together ({error}); copy both again") from error
    return network


def _take(tensors: dict[str, Tensor], prefix: str, folder: Path) -> dict[str, Tensor]:
    taken = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
    if not taken:
        raise InputError(f"{folder}: the weights lack {prefix}*; copy the folder again")
    return taken


def _no_model(path: Path) -> str:
    if not path.is_dir():
        return f"{path} is no directory: expected that of a run of matcard.train, or its {FOLDER} folder"
    if not (path / "config.yaml").is_file():
        return f"{path} is not the directory of a run: it has neither config.yaml nor {FOLDER}/model.json"
    if (path / "test_metrics.json").is_file():
        return (
            f"{path} has no {FOLDER} folder: it was removed; train the run again by "
            f"python -m matcard.train --config {path / 'config.yaml'}"
        )
    return f"{path} is not finished: go on with it by python -m matcard.train --resume {path}"
