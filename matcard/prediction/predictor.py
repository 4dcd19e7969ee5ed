"""Trained runs, loaded: from samples to probabilities, classes and embeddings, by one network or several together."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
import torch

from matcard.data.samples import module_of
from matcard.errors import InputError, MatcardWarning, listed
from matcard.evaluation.decision import mean_decision
from matcard.files import read_json
from matcard.models import Classifier, build_model
from matcard.models.transfer import read_safetensors
from matcard.prediction.modelfile import (
    DESCRIPTION,
    FOLDER,
    TRAINING,
    WEIGHTS,
    ModelDescription,
    model_folder,
    save_model,
    save_training,
)
from matcard.prediction.network import CentroidClassifier, Network, Reference, Scores, read_out

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from jaxtyping import Float32, Int64, Shaped

    from matcard.data.samples import Kind, Samples

BATCH_SIZE = 256
"""Samples that go through a network together."""


class Member(NamedTuple):
    """A trained network, what is known of it, where its training part lies and what tells the samples of that part."""

    path: Path
    description: ModelDescription
    kind: Kind
    network: Network
    reference: Reference
    marks: Mapping[str, Sequence[str]] | None

    def save(self, folder: Path) -> None:
        """Write all to a folder in the format of a run's `model` folder."""
        if self.marks is not None:
            save_training(folder, self.marks)
        reference = torch.from_numpy(self.reference.embeddings)
        save_model(folder, self.description, {**self.network.state_dict(), "reference.embeddings": reference})


class Readings(NamedTuple):
    """What each network says of the samples `positions`, what is odd about these, and why the others cannot be used."""

    positions: Int64[np.ndarray, " m"]
    scores: list[Scores]
    faults: Shaped[np.ndarray, " n"]
    odd: Sequence[str | None]


class Predictor:
    """One trained network, or several that share their classes; of crystals each builds its own graphs.

    `load_run` makes one.

    Args:
        members: one or more.
        device: to compute on.

    Raises:
        InputError: networks of different classes or different kinds of data.
    """

    def __init__(self, members: Sequence[Member], device: torch.device) -> None:
        first = members[0]
        for other in members[1:]:
            if other.description.class_names != first.description.class_names:
                raise InputError(
                    f"{other.path} has the classes {listed(other.description.class_names)}, {first.path} has "
                    f"{listed(first.description.class_names)}: runs of an ensemble share their classes and their order"
                )
            if other.kind.read_as != first.kind.read_as:
                raise InputError(
                    f"{other.path} was trained on other columns or another kind of data than {first.path}: runs of an "
                    "ensemble are read the same inputs"
                )
        self.members = [member._replace(network=member.network.eval().to(device)) for member in members]
        self.device = device
        self.path = first.path
        self.kind = first.kind
        self.description = first.description
        # Numbers that not all of them predict are left aside.
        names = [member.description.values for member in members]
        self.values = names[0] if all(each == names[0] for each in names) else ()
        self.decision = mean_decision([member.description.decision for member in members])

    @property
    def class_names(self) -> tuple[str, ...]:
        """The C classes, in the order of the probabilities."""
        return self.description.class_names

    def predict(
        self,
        objects: Iterable[Any],
        *,
        ids: Sequence[str] | None = None,
        batch_size: int = BATCH_SIZE,
        calibrated: bool = False,
    ) -> pd.DataFrame:
        """Predict the class of crystals, compositions, table rows or images, whatever was trained on.

        Args:
            objects: pymatgen `Structure` and ASE `Atoms` objects and paths of structure files, mixed as you like; a
                pandas DataFrame with the columns of training, or a list of formulas; an array of images.
            ids: one for each; by default those of a DataFrame, or the positions 0, 1, ...
            batch_size: samples that go through a network together.
            calibrated: divide the log-probabilities by the temperature that was fitted on validation. The predicted
                classes stay the same: the decision rule was chosen on probabilities as the network gives them.

        Returns:
            a row for each sample, in order, with the columns of `columns`: of several
            networks the mean of their probabilities and the deviation. One that cannot be used has the reason in
            `error` and no prediction.

        Raises:
            InputError: objects of another kind, or ids that are not as many.
        """
        return self.table(self.kind.wrap(objects, ids), batch_size=batch_size, calibrated=calibrated)

    def embed(self, objects: Iterable[Any], *, batch_size: int = BATCH_SIZE) -> Float32[np.ndarray, "n F"]:
        """Give the embedding of samples, the vector that feeds the head of the network; of several side by side.

        Args:
            objects: as `predict` takes them.
            batch_size: samples that go through a network together.

        Returns:
            a row for each sample, in order; NaN where it cannot be used, with a `MatcardWarning` that says why.
        """
        samples = self.kind.wrap(objects, None)
        found = self.read(samples, batch_size=batch_size)
        if len(found.positions) < len(samples):
            first = next(i for i, fault in enumerate(found.faults) if fault is not None)
            warnings.warn(
                f"{len(samples) - len(found.positions)} of {len(samples)} {self.kind.unit} cannot be used, "
                f"their embedding is NaN; the first is {samples.where[first]}: {found.faults[first]}",
                MatcardWarning,
                stacklevel=2,
            )
        embeddings = np.concatenate([scores.embeddings for scores in found.scores], axis=1)
        full = np.full((len(samples), embeddings.shape[1]), np.nan, dtype=np.float32)
        full[found.positions] = embeddings
        return full

    def table(
        self, samples: Samples, *, batch_size: int = BATCH_SIZE, jobs: int | None = None, calibrated: bool = False
    ) -> pd.DataFrame:
        """Predict samples; the columns are those of `columns`."""
        return self.lay_out(samples, self.read(samples, batch_size=batch_size, jobs=jobs), calibrated=calibrated)

    def failed(self, where: str, message: str) -> pd.DataFrame:
        """Give the row of an input that cannot be read, or not to its end."""
        types = columns(self.class_names, self.values, ensemble=len(self.members) > 1)
        table = pd.DataFrame({"id": [""], "source": [where], "error": [message]})
        return table.reindex(columns=list(types)).astype(types)

    def lay_out(self, samples: Samples, found: Readings, *, calibrated: bool = False) -> pd.DataFrame:
        """Give the table of `samples`, of which `found` was read."""
        names, several = np.array(self.class_names, dtype=object), len(self.members) > 1
        by_member = shown = np.stack([scores.probabilities for scores in found.scores])
        if calibrated and len(found.positions):
            calibrations = [member.description.calibration for member in self.members]
            shown = np.stack([each.apply(p) for each, p in zip(calibrations, by_member, strict=True)])
        mean = by_member.mean(axis=0)
        filled = pd.DataFrame(shown.mean(axis=0), found.positions, [f"prob_{name}" for name in names])
        if several:
            filled[[f"std_{name}" for name in names]] = shown.std(axis=0, ddof=1)
        for k, name in enumerate(self.values):
            filled[f"value_{name}"] = np.mean([scores.numbers[:, k] for scores in found.scores], axis=0)
        filled["predicted"] = names[self.decision.apply(mean) if len(mean) else []]
        filled["predicted_argmax"] = names[mean.argmax(axis=1)]
        pairs = zip(self.members, found.scores, strict=True)
        filled["novelty"] = np.max([member.reference.novelty(scores.embeddings) for member, scores in pairs], axis=0)
        taken = samples.take(found.positions)
        known = set.intersection(*(set(member.description.components) for member in self.members))
        contents = samples.kind.contents(taken.inputs, taken.columns)
        foreign = [[name for name in names if name not in known] for names in contents]
        told = zip(foreign, filled["novelty"], found.odd, strict=True)
        filled["reason"] = pd.array([_reason(*each) for each in told], dtype="string")
        filled["applicable"] = filled["reason"].isna()
        table = pd.DataFrame({"id": samples.ids, "source": samples.where, "error": found.faults})
        types = columns(self.class_names, self.values, ensemble=several)
        return table.join(filled)[list(types)].astype(types)

    def read(self, samples: Samples, *, batch_size: int = BATCH_SIZE, jobs: int | None = None) -> Readings:
        """Take the sound samples through the networks; those that these cannot take get a fault.

        Args:
            samples: n of them.
            batch_size: samples that go through a network together.
            jobs: processes that build graphs.
        """
        faults = samples.faults.copy()

        def work(positions: Int64[np.ndarray, " m"]) -> tuple[list[Scores], list[str | None]]:
            inputs, targets = samples.take(positions).inputs, np.zeros(len(positions), np.int64)
            made = {kind: kind.dataset(inputs, targets, jobs=jobs) for kind in {m.kind for m in self.members}}
            parts = [range(k, min(k + batch_size, len(targets))) for k in range(0, len(targets), batch_size)]
            scores = [read_out(m.network, map(made[m.kind].__getitems__, parts)) for m in self.members]  # type: ignore[attr-defined]
            said = zip(*(kind.oddities(dataset) for kind, dataset in made.items()), strict=True)
            return scores, [next(filter(None, each), None) for each in said]

        kept = [np.empty(0, np.int64)]
        found: list[list[Scores]] = [[]]
        for member in self.members:  # what they say of no sample
            width, values = member.reference.embeddings.shape[1], len(member.description.values)
            empty = [np.empty((0, n)) for n in (len(self.class_names), width, values)]
            found[0].append(Scores(kept[0], kept[0], empty[0], empty[1].astype("f4"), empty[2], empty[0]))
        odd: list[str | None] = []
        for positions, result in divided(np.flatnonzero(samples.sound), work):
            if isinstance(result, str):
                faults[positions] = result
            else:
                kept.append(positions)
                odd += result[1]
                found.append([scores._replace(positions=positions) for scores in result[0]])
        by_member = [Scores.join(parts) for parts in zip(*found, strict=True)]
        return Readings(np.concatenate(kept), by_member, faults, odd)


def columns(class_names: Sequence[str], values: Sequence[str] = (), *, ensemble: bool = False) -> dict[str, str]:
    """Give the columns of predictions with their types, in order.

    * `id`, `source`: name of the input; its file and row;
    * `predicted`: class by the decision rule chosen on validation; `predicted_argmax`: the most likely class;
    * `prob_<class>`: probabilities, of several runs their mean; `std_<class>`: standard deviation over the runs;
    * `value_<column>`: numbers that are predicted, of several runs their mean;
    * `applicable`: false where the input is unlike the training part, for the `reason` beside it: atoms without
      any neighbour, elements or components that were not in it, or `novelty` (distance to the nearest training
      embedding, over the 99th percentile of that of the validation part) above 1;
    * `error`: why an input has no prediction.
    """
    std = {f"std_{name}": "float64" for name in class_names} if ensemble else {}
    return {
        "id": "string",
        "source": "string",
        "predicted": "string",
        "predicted_argmax": "string",
        **{f"prob_{name}": "float64" for name in class_names},
        **std,
        **{f"value_{name}": "float64" for name in values},
        "applicable": "boolean",
        "novelty": "float64",
        "reason": "string",
        "error": "string",
    }


def _reason(foreign: Sequence[str], novelty: float, odd: str | None) -> str | None:
    """Say why a sample is unlike the training part; None where it is like it."""
    said = [odd] if odd else []
    if foreign:
        said.append(f"not in training: {', '.join(foreign)}")
    if novelty > 1:
        said.append(f"{novelty:.1f} times as far from the training part as 99 % of the validation part")
    return "; ".join(said) or None


def load_run(path: str | Path, *more: str | Path, device: str = "auto") -> Predictor:
    """Load finished runs, or their `model` folders alone, for prediction. Nothing in their files is executed.

    Args:
        path: directory of the run, or its `model` folder wherever it was moved.
        more: runs of the same classes, to predict with together.
        device: `cpu`, `cuda`, `cuda:1`, `mps`, or `auto`: the first GPU where there is one.

    Raises:
        InputError: no finished run there, damaged files, another format, no such device, or runs that do not fit.
    """
    members = [_member(Path(run)) for run in (path, *more)]
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        found = torch.device(device)
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"--device {device}: not to be had here; use auto or cpu") from error
    return Predictor(members, found)


def _member(path: Path) -> Member:
    folder = model_folder(path)
    if folder is None:
        raise InputError(_no_model(path))
    description, tensors = ModelDescription.load(folder), read_safetensors(folder / WEIGHTS)
    try:
        kind: Kind = module_of(description.kind["name"]).KIND.from_dict(description.kind)
        values = {**description.model, "init_from": None, "freeze": False}
        options = Classifier.find(values["name"]).options_class(**values)
    except (KeyError, TypeError) as error:
        raise InputError(
            f"{folder / DESCRIPTION}: inputs or options of the model that this version does not know "
            f"({type(error).__name__}: {error}); it was written by matcard {description.matcard_version}"
        ) from error
    if "reference.embeddings" not in tensors:
        raise InputError(f"{folder}: the weights lack reference.embeddings; copy the folder again")
    reference = Reference(tensors.pop("reference.embeddings").numpy(), description.novelty_limit)
    centroids = CentroidClassifier() if any(name.startswith("centroids.") for name in tensors) else None
    num_classes, num_values = len(description.class_names), len(description.values)
    model = build_model(options, num_classes=num_classes, num_values=num_values, **kind.model_arguments)
    network = Network(model, centroids, description.scale, description.mix)
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        raise InputError(f"{folder}: weights and description do not fit together ({error}); copy both again") from error
    marks = read_json(folder / TRAINING) if (folder / TRAINING).is_file() else None
    return Member(path, description, kind, network, reference, marks)


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


def divided(
    positions: Int64[np.ndarray, " m"], work: Callable[[Int64[np.ndarray, " m"]], Any]
) -> Iterator[tuple[Int64[np.ndarray, " k"], Any]]:
    """Work on all positions at once, and where that is refused on their halves, down to the one that is at fault.

    Yields:
        positions in order, with the result, or with the message of the `InputError` of a single one.
    """
    if not len(positions):
        return
    try:
        yield positions, work(positions)
    except InputError as error:
        if len(positions) == 1:
            yield positions, str(error)
        else:
            for half in np.array_split(positions, 2):
                yield from divided(half, work)
