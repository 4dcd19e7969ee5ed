"""The `model/` folder of a run: weights as safetensors, all else as JSON. Reading it runs none of its content."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from safetensors.torch import save

from matcard import __version__
from matcard.errors import InputError
from matcard.evaluation.calibration import Calibration
from matcard.evaluation.decision import Decision
from matcard.evaluation.value import ValueMix
from matcard.files import read_json, to_json, tuples, written_whole
from matcard.models.value import ValueScale

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from torch import Tensor

FORMAT_VERSION = 6
"""Raised when a file of the old kind would be misread; one of another version is refused."""
FOLDER = "model"
"""Its name within the directory of a run."""
DESCRIPTION = "model.json"
WEIGHTS = "model.safetensors"
TRAINING = "training.json"
"""What tells the samples of the training part, by which `matcard.evaluate` finds those that are not new."""


@dataclass(frozen=True)
class ModelDescription:
    """What must be known of a network to predict with it, in plain values.

    Attributes:
        class_names: the C classes.
        class_counts: of the training part.
        drawn_counts: how many of each class an epoch drew, on average: the prior that probabilities follow.
        target: `column`, and the `edges` between intervals of its numbers and their `classes`, if these are made of it.
        model: options of the network, its `name` among them.
        kind: what a sample is and how it becomes the input of the network, see `matcard.data.samples.Kind`. Mean and
            deviation of arrays are among the weights.
        decision: the rule chosen on validation, for probabilities as the network gives them.
        calibration: a temperature, fitted on validation; it changes no most likely class.
        bias_corrected: with a bias for each class, so that probabilities follow the shares of training.
        components: elements or components in the training part; none where samples do not tell.
        novelty_limit: see `matcard.prediction.network.Reference.limit`.
        config: the whole configuration of the run, for the record.
        scale: of the numbers that the network predicts; None where it predicts none.
        mix: of the number's class probabilities with the class head's; None where the number says nothing of classes.
        matcard_version: that wrote the file.
    """

    class_names: tuple[str, ...]
    class_counts: tuple[int, ...]
    drawn_counts: tuple[float, ...]
    target: dict[str, Any]
    model: dict[str, Any]
    kind: dict[str, Any]
    decision: Decision
    calibration: Calibration
    bias_corrected: Calibration
    components: tuple[str, ...]
    novelty_limit: float
    config: dict[str, Any]
    scale: ValueScale | None = None
    mix: ValueMix | None = None
    matcard_version: str = __version__

    @property
    def values(self) -> tuple[str, ...]:
        """The columns whose numbers are predicted, the one behind the classes first."""
        return () if self.scale is None else self.scale.names

    def to_dict(self) -> dict[str, Any]:
        """Give it as plain values, the format's version first."""
        return {"format_version": FORMAT_VERSION, **asdict(self), "decision": self.decision.to_dict()}

    @classmethod
    def load(cls, folder: Path) -> ModelDescription:
        """Read what `save_model` wrote of it.

        Raises:
            InputError: the file is missing, damaged, or of another format.
        """
        path = folder / DESCRIPTION
        stored = read_json(path)
        version = stored.get("format_version") if isinstance(stored, dict) else None
        if not isinstance(version, int):
            raise InputError(f"{path} describes no model: expected a file that a run of matcard has written")
        if version != FORMAT_VERSION:
            raise InputError(
                f"{path} has format {version}, written by matcard {stored.get('matcard_version')}; this version reads "
                f"format {FORMAT_VERSION}: use that version, or train the run again"
            )
        try:
            values = {field.name: stored[field.name] for field in fields(cls)}
            for name in ("class_names", "class_counts", "drawn_counts", "components"):
                values[name] = tuple(values[name])
            for name in ("target", "model", "kind", "config"):
                values[name] = dict(values[name])
            kinds = {"scale": ValueScale, "mix": ValueMix, "calibration": Calibration, "bias_corrected": Calibration}
            for name, kind in kinds.items():
                if values[name] is not None or kind is Calibration:
                    values[name] = kind(**tuples(values[name]))
            values["novelty_limit"] = float(values["novelty_limit"])
            return cls(**{**values, "decision": Decision.from_dict(values["decision"], str(path))})
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{path} is damaged ({type(error).__name__}: {error}); write or copy it again") from error


def save_model(folder: Path, description: ModelDescription, tensors: dict[str, Tensor]) -> None:
    """Write `model.safetensors` and then `model.json`, each whole: with the second the model is there.

    Args:
        folder: made where it is not there.
        description: see there.
        tensors: `model.*` of the network, `centroids.*` where there are such, `reference.embeddings`.
    """
    held = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with written_whole(folder / WEIGHTS) as beside:
        beside.write_bytes(save(held, metadata={"format": "pt", "matcard": description.matcard_version}))
    to_json(description.to_dict(), folder / DESCRIPTION)


def save_training(folder: Path, marks: Mapping[str, Iterable[str]]) -> None:
    """Write what tells the samples of the training part, as `Kind.marks` gives it, each text once."""
    to_json({name: sorted(set(texts)) for name, texts in marks.items()}, folder / TRAINING)


def model_folder(path: Path) -> Path | None:
    """Give the folder with the model: `path` itself, or the `model` folder of the run `path`; None without either."""
    return next((folder for folder in (path, path / FOLDER) if (folder / DESCRIPTION).is_file()), None)
