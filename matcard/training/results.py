"""What a finished run leaves: predictions of every sample, the test metrics, the model."""

from __future__ import annotations

import warnings
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from matcard.data.card import card_names, load_card
from matcard.errors import InputError, MatcardWarning
from matcard.evaluation.calibration import fit_bias_corrected, fit_temperature
from matcard.evaluation.choice import choose_decision
from matcard.evaluation.decision import argmax
from matcard.evaluation.scoring import scored
from matcard.evaluation.tables import averages_table, calibration_line, recall_table
from matcard.files import to_json, written_whole
from matcard.prediction.applicability import Reference
from matcard.prediction.modelfile import FOLDER, ModelDescription, save_model, save_training
from matcard.prediction.network import read_out
from matcard.training.config import config_to_dict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jaxtyping import Shaped
    from rich.console import Console

    from matcard.data.options import DataOptions
    from matcard.evaluation.calibration import BiasCorrected, Temperature
    from matcard.evaluation.decision import Decision, DecisionOptions
    from matcard.prediction.network import Scores
    from matcard.training.batches import DataModule
    from matcard.training.module import TrainingModule
    from matcard.training.options import Config
    from matcard.training.rundir import RunDir

MAX_EMBEDDINGS = 20_000
"""Samples whose embeddings are kept; of more, a random choice."""


def write_results(run: RunDir, module: TrainingModule, data: DataModule, console: Console) -> None:
    """Score the three parts with the best epoch's weights, write and show the test metrics.

    This is where a run looks at its test part, the only place and once. The decision rule and the temperature are
    chosen on the validation part.
    """
    config = run.load_config()
    scores = {part: read_out(module.network, data.eval_dataloader(part)) for part in data.parts}
    decision = _decision(config.decision, scores["val"], data)
    decision.save(run.decision)
    temperature = fit_temperature(scores["val"].targets, scores["val"].probabilities)
    temperature.save(run.path / "temperature.json")
    bias_corrected = fit_bias_corrected(scores["val"].targets, scores["val"].probabilities)
    write_predictions(run, scores, data.set.ids, data.class_names, decision)
    write_embeddings(run, scores, data.set.ids, config.seed)
    write_model(run, config, module, data, scores, decision, temperature, bias_corrected)

    test = scores["test"]
    metrics = scored(
        test.targets,
        test.probabilities,
        train_counts=data.class_counts,
        decision=decision,
        temperature=temperature,
        seed=config.seed,
    )
    # Last, since its presence says that the run is finished.
    to_json(metrics, run.test_metrics)
    console.print(recall_table(metrics))
    console.print(averages_table(metrics))
    console.print(calibration_line(metrics))
    console.print(f"run: {run.path}", soft_wrap=True, markup=False)


def write_predictions(
    run: RunDir,
    scores: dict[str, Scores],
    ids: Shaped[np.ndarray, " N"],
    class_names: Sequence[str],
    decision: Decision,
) -> None:
    """Write `predictions.parquet`: id, split, target, predicted, and prob_<class> for each class.

    `predicted` is the most likely class, `predicted_at_decision` that by the decision rule.
    """
    names = np.array(class_names, dtype=object)
    tables = []
    for part, (index, targets, probabilities, _) in scores.items():
        columns = {
            "id": ids[index],
            "split": part,
            "target": names[targets],
            "predicted": names[probabilities.argmax(1)],
            "predicted_at_decision": names[decision.apply(probabilities)],
        }
        probability = {f"prob_{name}": probabilities[:, c] for c, name in enumerate(class_names)}
        tables.append(pd.DataFrame({**columns, **probability}))
    with written_whole(run.predictions) as beside:
        pd.concat(tables, ignore_index=True).to_parquet(beside, index=False)


def write_embeddings(
    run: RunDir,
    scores: dict[str, Scores],
    ids: Shaped[np.ndarray, " N"],
    seed: int,
) -> None:
    """Write `embeddings.npz`: `id`, `split`, `target` (class index) and `embedding` (float32) of each sample.

    Of more than `MAX_EMBEDDINGS` samples a random choice is kept; `total` says how many there were.
    """
    columns: dict[str, Any] = {
        "id": np.concatenate([ids[part.positions] for part in scores.values()]).astype(str),
        "split": np.concatenate([np.full(len(part.positions), name) for name, part in scores.items()]),
        "target": np.concatenate([part.targets for part in scores.values()]),
        "embedding": np.concatenate([part.embeddings for part in scores.values()]),
    }
    total = len(columns["id"])
    kept = np.sort(np.random.default_rng(seed).permutation(total)[:MAX_EMBEDDINGS])
    with written_whole(run.path / "embeddings.npz") as beside:
        np.savez(beside, total=total, **{name: values[kept] for name, values in columns.items()})


def write_model(
    run: RunDir,
    config: Config,
    module: TrainingModule,
    data: DataModule,
    scores: dict[str, Scores],
    decision: Decision,
    temperature: Temperature,
    bias_corrected: BiasCorrected,
) -> None:
    """Write the `model/` folder: the network, its classes, decision, calibration and where the training part lies."""
    reference = Reference.fit(scores["train"].embeddings, scores["val"].embeddings, seed=config.seed)
    trained = data.set.samples.take(data.parts["train"])
    kind = trained.kind
    values = config_to_dict(config)
    description = ModelDescription(
        class_names=tuple(data.class_names),
        class_counts=tuple(data.class_counts.tolist()),
        target=target_of(config.data),
        model=values["model"],
        kind=kind.to_dict(),
        decision=decision,
        temperature=temperature,
        bias_corrected=bias_corrected,
        components=tuple(dict.fromkeys(chain.from_iterable(kind.contents(trained.inputs, trained.columns[[]])))),
        novelty_limit=reference.limit,
        train_size=len(data.parts["train"]),
        config=values,
    )
    tensors = module.network.state_dict()
    tensors["reference.embeddings"] = torch.from_numpy(reference.embeddings)
    save_training(run.path / FOLDER, kind.marks(trained))
    save_model(run.path / FOLDER, description, tensors)


def target_of(options: DataOptions) -> dict[str, Any]:
    """Give the column that is predicted and what makes its classes, those of the card where it says them."""
    ways = {name: getattr(options, name) for name in ("threshold", "bins", "window")}
    column = options.target
    if column is None and options.source in card_names():
        card = load_card(options.source)
        column = card.target
        if all(way is None for way in ways.values()):
            ways |= {"threshold": card.threshold, "bins": list(card.bins) if card.bins else None}
    return {"column": column, **ways}


def _decision(options: DecisionOptions, validation: Scores, data: DataModule) -> Decision:
    """Choose the rule; where its aim is out of reach, argmax with a warning: a finished training is not thrown away."""
    try:
        return choose_decision(
            options, validation.targets, validation.probabilities, data.class_names, data.class_counts
        )
    except InputError as error:
        warnings.warn(
            f"--decision.rule {options.rule}: {error}; the most likely class is predicted instead", MatcardWarning, 2
        )
        return argmax(data.class_names)
