"""The `model/` folder of a finished run: all that prediction needs, apart from the run's other files."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any

import torch

from matcard.prediction.applicability import Reference
from matcard.prediction.inputs import inputs_of
from matcard.prediction.modelfile import FOLDER, ModelDescription, save_model, save_training
from matcard.prediction.network import Network
from matcard.training.config import config_to_dict

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Float

    from matcard.data.options import DataOptions
    from matcard.evaluation.calibration import BiasCorrected, Temperature
    from matcard.evaluation.decision import Decision
    from matcard.training.data import DataModule
    from matcard.training.module import TrainingModule
    from matcard.training.options import Config
    from matcard.training.rundir import RunDir


def export_model(
    run: RunDir,
    config: Config,
    module: TrainingModule,
    data: DataModule,
    embeddings: dict[str, Float[np.ndarray, "n F"]],
    decision: Decision,
    temperature: Temperature,
    bias_corrected: BiasCorrected,
) -> None:
    """Write the network with its classes, decision rule, temperature and embeddings of the training part."""
    reference = Reference.fit(embeddings["train"], embeddings["val"], seed=config.seed)
    inputs = inputs_of(data.labelled)
    trained = inputs.trained_on(data.labelled, data.parts["train"])
    values = config_to_dict(config)
    description = ModelDescription(
        class_names=tuple(data.class_names),
        class_counts=tuple(data.class_counts.tolist()),
        target=target_of(config.data),
        model=values["model"],
        kind=inputs.kind,
        inputs=inputs.to_dict(),
        decision=decision,
        temperature=temperature,
        bias_corrected=bias_corrected,
        components=tuple(dict.fromkeys(chain.from_iterable(inputs.contents(trained)))),
        novelty_limit=reference.limit,
        train_size=len(data.parts["train"]),
        config=values,
    )
    tensors = Network(module.model, module.centroids).state_dict()
    tensors["reference.embeddings"] = torch.from_numpy(reference.embeddings)
    save_training(run.path / FOLDER, inputs.marks(trained))
    save_model(run.path / FOLDER, description, tensors)


def target_of(options: DataOptions) -> dict[str, Any]:
    """Give the column that is predicted and what makes its classes, those of the card where it says them."""
    from matcard.data.card import card_names, load_card

    ways = {name: getattr(options, name) for name in ("threshold", "bins", "window")}
    column = options.target
    if column is None and options.source in card_names():
        card = load_card(options.source)
        column = card.target
        if all(way is None for way in ways.values()):
            ways |= {"threshold": card.threshold, "bins": list(card.bins) if card.bins else None}
    return {"column": column, **ways}
