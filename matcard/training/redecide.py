"""Another decision rule for a finished run, chosen on the validation scores that it has kept, without training."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from matcard.errors import InputError
from matcard.evaluation.calibration import Temperature
from matcard.evaluation.choice import choose_decision
from matcard.evaluation.scoring import scored
from matcard.files import read_json, to_json, written_whole
from matcard.prediction.modelfile import DESCRIPTION, ModelDescription, model_folder
from matcard.training.finished import FinishedRun

if TYPE_CHECKING:
    from pathlib import Path

    from matcard.evaluation.decision import Decision, DecisionOptions


def choose_again(path: Path, options: DecisionOptions) -> tuple[Decision, dict[str, Any]]:
    """Choose a rule on the validation part of a finished run; its test part is not looked at.

    Args:
        path: directory of the run.
        options: which rule, and its aim.

    Returns:
        the rule, and the metrics of the validation part, as `matcard.evaluation.scoring.scored` gives them.

    Raises:
        InputError: no finished run, one without its predictions, or an aim that is out of reach.
    """
    run = _opened(path)
    part = run.parts["val"]
    decision = choose_decision(options, part.targets, part.probabilities, run.class_names, run.counts("train"))
    return decision, _scored(run, "val", decision)


def save_choice(path: Path, decision: Decision) -> dict[str, Any]:
    """Make a rule that of the run, as if it had been trained with it: of prediction, and of the test figures.

    Writes `decision.json`, `model/model.json`, the classes of `predictions.parquet`, and `test_metrics.json`, in which
    all but what stands under `at_decision` stays as it was. `config.yaml` still holds the rule of the training.

    Returns:
        the metrics of the test part.

    Raises:
        InputError: no finished run, or one without its predictions.
    """
    import pandas as pd

    run = _opened(path)
    metrics = _scored(run, "test", decision)
    table = pd.read_parquet(run.files.predictions)
    chosen = decision.apply(table[[f"prob_{name}" for name in run.class_names]].to_numpy())
    table["predicted_at_decision"] = np.array(run.class_names, dtype=object)[chosen]
    decision.save(run.files.decision)
    folder = model_folder(path)
    if folder is not None:
        file = folder / DESCRIPTION
        description = ModelDescription.from_dict(read_json(file), str(file))
        to_json(replace(description, decision=decision).to_dict(), file)
    with written_whole(run.files.predictions) as beside:
        table.to_parquet(beside, index=False)
    to_json({**read_json(run.files.test_metrics), "at_decision": metrics["at_decision"]}, run.files.test_metrics)
    return metrics


def _opened(path: Path) -> FinishedRun:
    run = FinishedRun(path)
    if not run.files.predictions.is_file():
        raise InputError(
            f"{path} has no {run.files.predictions.name}: a rule is chosen on the validation scores of the run's own "
            "directory"
        )
    return run


def _scored(run: FinishedRun, part: str, decision: Decision) -> dict[str, Any]:
    samples = run.parts[part]
    return scored(
        samples.targets,
        samples.probabilities,
        train_counts=run.counts("train"),
        decision=decision,
        temperature=Temperature.load(run.path / "temperature.json"),
        seed=int(run.config.get("seed", 0)),
    )
