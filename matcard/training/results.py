"""What a finished run leaves: predictions of every sample, the test metrics, their pictures."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import numpy as np

from matcard.evaluation.confusion import confusion_matrix
from matcard.evaluation.curves import learning_figure
from matcard.evaluation.metrics import classification_metrics, metrics_beside_argmax, to_json
from matcard.evaluation.plots import confusion_figure, recall_figure
from matcard.evaluation.selection import best_score
from matcard.evaluation.style import save_figure
from matcard.evaluation.tables import recall_table, summary_line
from matcard.files import written_whole
from matcard.training.inference import predict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jaxtyping import Shaped
    from rich.console import Console

    from matcard.training.data import DataModule
    from matcard.training.inference import Scores
    from matcard.training.module import TrainingModule
    from matcard.training.rundir import RunDir


def write_results(run: RunDir, module: TrainingModule, data: DataModule, console: Console) -> None:
    """Score the three parts with the best epoch's weights, write and show the test metrics.

    This is where a run looks at its test part, the only place and once.
    """
    scores = {part: predict(module, data.eval_dataloader(part)) for part in data.parts}
    write_predictions(run, scores, data.labelled.ids, data.class_names)
    test = scores["test"]
    metrics = classification_metrics(
        test.targets, test.probabilities, class_names=data.class_names, train_counts=data.class_counts
    )
    rare = metrics["minority_classes"]
    confusion = confusion_matrix(test.targets, test.probabilities.argmax(1), data.num_classes)
    save_figure(confusion_figure(confusion, data.class_names, rare), run.path / "confusion.png")
    save_figure(recall_figure(metrics), run.path / "recall.png")
    with run.metrics.open(newline="", encoding="utf-8") as file:
        save_figure(learning_figure(list(csv.DictReader(file)), module.monitor), run.path / "learning.png")
    decision = best_score(scores["val"].targets, scores["val"].probabilities, data.class_names)
    decision.save(run.decision)
    beside = metrics_beside_argmax(test.targets, test.probabilities, train_counts=data.class_counts, decision=decision)
    metrics["at_decision"] = {"rule": beside["rule"], **beside["chosen"]}
    # Last, since its presence says that the run is finished.
    to_json(metrics, run.test_metrics)
    console.print(recall_table(metrics))
    console.print(f"with the decision rule chosen on validation: {summary_line(metrics['at_decision'])}")
    console.print(f"run: {run.path}", soft_wrap=True)


def write_predictions(
    run: RunDir, scores: dict[str, Scores], ids: Shaped[np.ndarray, " N"], class_names: Sequence[str]
) -> None:
    """Write `predictions.parquet`: id, split, target, predicted, and prob_<class> for each class."""
    import pandas as pd

    names = np.array(class_names, dtype=object)
    tables = []
    for part, (index, targets, probabilities) in scores.items():
        predicted = probabilities.argmax(1)
        columns = {
            "id": ids[index],
            "split": part,
            "target": names[targets],
            "predicted": names[predicted],
        }
        probability = {f"prob_{name}": probabilities[:, c] for c, name in enumerate(class_names)}
        tables.append(pd.DataFrame({**columns, **probability}))
    with written_whole(run.predictions) as beside:
        pd.concat(tables, ignore_index=True).to_parquet(beside, index=False)
