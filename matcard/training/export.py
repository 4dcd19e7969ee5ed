"""The `model/` folder of a finished run: all that prediction needs, apart from the run's other files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from matcard.models.options import CrystalModelOptions
from matcard.prediction.applicability import Reference
from matcard.prediction.modelfile import FOLDER, ModelDescription, save_model
from matcard.prediction.network import Network
from matcard.training.config import config_to_dict

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Float

    from matcard.data.options import DataOptions
    from matcard.evaluation.calibration import Temperature
    from matcard.evaluation.thresholds import Decision
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
) -> None:
    """Write the network with its classes, decision rule, temperature and embeddings of the training part.

    Networks of other samples than crystals are not exported: prediction reads crystals.
    """
    if not isinstance(config.model, CrystalModelOptions):
        return
    reference = Reference.fit(embeddings["train"], embeddings["val"], seed=config.seed)
    values = config_to_dict(config)
    description = ModelDescription(
        class_names=tuple(data.class_names),
        class_counts=tuple(data.class_counts.tolist()),
        target=target_of(config.data),
        model=values["model"],
        graph=values["data"]["graph"],
        decision=decision,
        temperature=temperature,
        elements=_elements(data),
        novelty_limit=reference.limit,
        train_size=len(data.parts["train"]),
        config=values,
    )
    tensors = Network(module.model, module.centroids).state_dict()
    tensors["reference.embeddings"] = torch.from_numpy(reference.embeddings)
    save_model(run.path / FOLDER, description, tensors)


def target_of(options: DataOptions) -> dict[str, Any]:
    """Give the column that is predicted and the edges of its classes, those of the card where it says them."""
    from matcard.data.cards import load_card

    column, threshold, bins = options.target, options.threshold, options.bins
    if column is None:
        card = load_card(options.source)
        column = card.target
        if threshold is None and bins is None:
            threshold, bins = card.threshold, list(card.bins) if card.bins else None
    return {"column": column, "threshold": threshold, "bins": bins}


def _elements(data: DataModule) -> tuple[int, ...]:
    """Give the atomic numbers in the training part."""
    graphs = data.dataset.graphs
    seen: set[int] = set()
    for i in data.parts["train"]:
        seen.update(graphs.numbers[graphs.node_offsets[i] : graphs.node_offsets[i + 1]].tolist())
    return tuple(sorted(seen))
