"""What a finished run leaves: predictions of every sample, the test metrics, the model."""

from __future__ import annotations

import warnings
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from matcard.errors import InputError, MatcardWarning
from matcard.evaluation.calibration import fit_calibration
from matcard.evaluation.choice import choose_decision
from matcard.evaluation.decision import argmax
from matcard.evaluation.scoring import scored
from matcard.evaluation.tables import print_scores
from matcard.evaluation.value import value_results
from matcard.files import to_json, written_whole
from matcard.prediction.applicability import Reference
from matcard.prediction.modelfile import FOLDER, ModelDescription, save_model, save_training
from matcard.prediction.network import read_out
from matcard.training.config import config_to_dict

if TYPE_CHECKING:
    from jaxtyping import Shaped
    from rich.console import Console
    from torch import Tensor

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

    This is where a run looks at its test part, the only place and once; of an empty one nothing is written. The
    decision rule, the temperature and what a predicted number says of the classes are chosen on the validation part.
    """
    config = run.load_config()
    parts = [part for part, positions in data.parts.items() if len(positions)]
    scores = {part: read_out(module.network, data.eval_dataloader(part)) for part in parts}
    description, tensors = describe_model(config, module, data, scores)
    decision = description.decision
    decision.save(run.decision)
    write_predictions(run, scores, data, decision)
    write_embeddings(run, scores, data.set.ids, config.seed)
    trained = data.set.samples.take(data.parts["train"])
    save_training(run.path / FOLDER, trained.kind.marks(trained))
    save_model(run.path / FOLDER, description, tensors)
    if "test" not in scores:
        return
    test = scores["test"]
    metrics = scored(
        test.targets,
        test.probabilities,
        train_counts=data.class_counts,
        decision=decision,
        calibration=description.calibration,
        seed=config.seed,
    )
    if data.values is not None:
        metrics["values"] = value_results(
            data.values.names,
            data.values.numbers[test.positions],
            test.numbers,
            module.mix,
            targets=test.targets,
            heads=test.heads,
        )
    # Last, since its presence says that the run is finished.
    to_json(metrics, run.test_metrics)
    print_scores(console, metrics)
    console.print(f"run: {run.path}", soft_wrap=True, markup=False)


def write_predictions(run: RunDir, scores: dict[str, Scores], data: DataModule, decision: Decision) -> None:
    """Write `predictions.parquet`: id, split, target, predicted, and prob_<class> for each class.

    `predicted` is the most likely class, `predicted_at_decision` that by the decision rule. Of each number that is
    predicted `number_<column>` is the true one and `value_<column>` the predicted one.
    """
    names = np.array(data.class_names, dtype=object)
    tables = []
    for part, read in scores.items():
        columns = {
            "id": data.set.ids[read.positions],
            "split": part,
            "target": names[read.targets],
            "predicted": names[read.probabilities.argmax(1)],
            "predicted_at_decision": names[decision.apply(read.probabilities)],
        }
        columns |= {f"prob_{name}": read.probabilities[:, c] for c, name in enumerate(data.class_names)}
        if data.values is not None:
            for k, name in enumerate(data.values.names):
                columns[f"number_{name}"] = data.values.numbers[read.positions, k]
                columns[f"value_{name}"] = read.numbers[:, k]
        tables.append(pd.DataFrame(columns))
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


def describe_model(
    config: Config, module: TrainingModule, data: DataModule, scores: dict[str, Scores]
) -> tuple[ModelDescription, dict[str, Tensor]]:
    """Give all that prediction needs: classes, decision, calibration, the weights, where the training part lies.

    The decision rule and the calibration are chosen on the validation part.

    Args:
        config: of the training.
        module: trained.
        data: what it was trained on.
        scores: of the training and the validation part.

    Returns:
        the description, and the tensors of the model's file.
    """
    validation = scores["val"]
    reference = Reference.fit(scores["train"].embeddings, validation.embeddings, seed=config.seed)
    trained = data.set.samples.take(data.parts["train"])
    kind, labels, values = trained.kind, trained.labels, config_to_dict(config)
    assert labels is not None, "what is trained on has classes"
    description = ModelDescription(
        class_names=tuple(data.class_names),
        class_counts=tuple(data.class_counts.tolist()),
        drawn_counts=tuple(data.drawn_counts.tolist()),
        target={"column": labels.target, "edges": list(labels.edges), "classes": list(labels.classes)},
        model=values["model"],
        kind=kind.to_dict(),
        decision=_decision(config.decision, validation, data),
        calibration=fit_calibration(validation.targets, validation.probabilities),
        bias_corrected=fit_calibration(validation.targets, validation.probabilities, biased=True),
        components=tuple(dict.fromkeys(chain.from_iterable(kind.contents(trained.inputs, trained.columns[[]])))),
        novelty_limit=reference.limit,
        train_size=len(data.parts["train"]),
        config=values,
        scale=data.scale,
        mix=module.mix,
    )
    tensors = module.network.state_dict()
    tensors["reference.embeddings"] = torch.from_numpy(reference.embeddings)
    return description, tensors


def _decision(options: DecisionOptions, validation: Scores, data: DataModule) -> Decision:
    """Choose the rule; where its aim is out of reach, argmax with a warning: a finished training is not thrown away."""
    try:
        return choose_decision(
            options,
            validation.targets,
            validation.probabilities,
            data.class_names,
            data.class_counts,
            data.drawn_counts,
        )
    except InputError as error:
        warnings.warn(
            f"--decision.rule {options.rule}: {error}; the most likely class is predicted instead", MatcardWarning, 2
        )
        return argmax(data.class_names)
