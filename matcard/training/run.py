"""A run from its configuration to its files: read, split, fit, choose the best epoch, test once, write what is left."""

from __future__ import annotations

import warnings
from collections import Counter
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from matcard.cli import make_console, rank
from matcard.data.dataset import changed
from matcard.data.read import divide, read_labelled
from matcard.errors import InputError, MatcardWarning
from matcard.evaluation.calibration import fit_calibration
from matcard.evaluation.choice import check_decision, choose_decision
from matcard.evaluation.decision import argmax
from matcard.evaluation.printed import class_count_table, print_scores
from matcard.evaluation.scoring import scored, value_results
from matcard.files import to_json, written_whole
from matcard.prediction.modelfile import FOLDER, ModelDescription, save_model, save_training
from matcard.prediction.network import Reference, read_out
from matcard.progress import crystal_progress
from matcard.training.batches import DataModule
from matcard.training.config import config_to_dict
from matcard.training.fit import check_config, fit
from matcard.training.rundir import RunDir

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rich.console import Console

    from matcard.data.dataset import TrainingSet
    from matcard.data.samples import Samples
    from matcard.evaluation.decision import Decision
    from matcard.prediction.network import Scores
    from matcard.training.module import TrainingModule
    from matcard.training.options import Config

    Report = Callable[[Path, Samples], object]
    """Writes the report of a finished run from its directory and what its source holds."""

MAX_EMBEDDINGS = 20_000
"""Samples whose embeddings are kept; of more, a random choice."""


def train(config: Config, console: Console | None = None, report: Report | None = None) -> RunDir:
    """Train a new run and give its directory, which is made once options, data, split and decision are accepted.

    Args:
        config: options of the run.
        console: what is printed to.
        report: called at the end, unless the options ask for no report.

    Raises:
        InputError: options or input that cannot be used; what is wrong and what to do.
        TrainingError: the loss stopped being finite.
    """
    check_config(config)
    return _carry_out(RunDir.planned(config), config, console or make_console(), report)


def resume(path: Path, console: Console | None = None, report: Report | None = None) -> RunDir:
    """Go on with a killed run from its last finished epoch; arguments as `train`.

    Raises:
        InputError: not a run's directory, a finished run, or data that have changed since.
    """
    run = RunDir.unfinished(path)
    return _carry_out(run, run.load_config(), console or make_console(), report)


def _carry_out(run: RunDir, config: Config, console: Console, report: Report | None) -> RunDir:
    with crystal_progress(console, "parsing") as progress:
        samples = read_labelled(config.data, progress)
    samples.check_left_out(config.data.max_left_out)
    begun = run.split.is_file()
    with crystal_progress(console, "crystals to graphs") as graphs:
        divided = divide(
            samples,
            config.data,
            seed=config.seed,
            saved_split=run.split if begun else None,
            graphs=config.model.sees_graphs,
            progress=graphs,
        )
    if begun and (different := changed(run.fingerprint.read_text(encoding="utf-8"), divided.fingerprint)):
        raise InputError(
            f"--resume {run.path}: the {' and '.join(different)} of {config.data.source} have changed since the run "
            "began; put them back, or start a new run"
        )
    weight, labels = config.value.weight, samples.labels
    if weight and not config.data.auxiliary and labels is not None and not labels.edges:
        warnings.warn(
            f"--value.weight {weight:g} plays no part: the classes of {labels.target} are not made of a number, and "
            "--data.auxiliary names no column; set it to 0",
            MatcardWarning,
            stacklevel=2,
        )
    if carry_on(run, config, samples, divided, console, begun=begun) and report and config.report:
        report(run.path, samples)
    return run


def carry_on(
    run: RunDir, config: Config, samples: Samples, divided: TrainingSet, console: Console, *, begun: bool = False
) -> bool:
    """Train on samples in their parts and write what a run leaves; True in the first process of several.

    Args:
        run: the directory, made once all is accepted.
        config: options of the run.
        samples: all rows of the source.
        divided: those that can be used, in their parts.
        console: what is printed to.
        begun: whether the directory is that of a run that was killed.

    Raises:
        InputError: options that do not go with the data.
        TrainingError: the loss stopped being finite.
    """
    data = DataModule(divided, config)
    _show_data(run, data, samples, console)
    check_decision(config.decision, data.class_names, data.class_counts)

    def begin() -> None:
        if not begun and rank() == 0:
            run.create(config, samples, divided, data.distinct)

    module = fit(run, config, data, console, begin=begin)
    if module is None:
        return False
    write_results(run, module, data, console)
    return True


def _show_data(run: RunDir, data: DataModule, samples: Samples, console: Console) -> None:
    """Print the classes of each part, what was left out or cut, and what is odd about the data."""
    counts = {part: data.count(part) for part in data.parts}
    cut = data.set.split.cut
    if len(cut):
        counts["cut"] = np.bincount(data.codes[cut], minlength=data.num_classes)
    bad = ~samples.sound
    lost = samples.codes[bad & (samples.codes >= 0)]
    distinct = data.distinct
    table = class_count_table(
        data.class_names,
        counts,
        np.bincount(lost, minlength=data.num_classes),
        distinct=None if distinct is None else distinct.here,
        drawn=None if data.draws is None else data.drawn_counts,
    )
    console.print(table)
    for text in () if distinct is None or data.draws is not None else distinct.warnings(data.set.unit):
        warnings.warn(text, MatcardWarning, stacklevel=2)
    if len(cut):
        console.print(f"{len(cut)} {data.set.unit} are cut out of the parts on purpose, see {run.split}")
    learned = 0 if data.set.unlabelled is None else len(data.set.unlabelled.chosen)
    if unlabelled := int((~bad & (samples.codes < 0)).sum()) - learned:
        console.print(f"{unlabelled} rows without a target are in no part, see {run.left_out}")
    of_none = samples.texts[bad & (samples.codes < 0) & (samples.texts != "")]
    for name, count in Counter(of_none.tolist()).items():
        console.print(f"{count} rows left out are of class {name!r}, which has no row that can be used")
    for note in data.set.notes:
        console.print(note)


def write_results(run: RunDir, module: TrainingModule, data: DataModule, console: Console) -> None:
    """Score the three parts with the best epoch's weights, write and show the test metrics.

    This is where a run looks at its test part, the only place and once; of an empty one nothing is written. The
    decision rule, the temperature and what a predicted number says of the classes are chosen on the validation part.
    """
    config, ids = run.load_config(), data.set.samples.ids
    parts = [part for part, positions in data.parts.items() if len(positions)]
    scores = {part: read_out(module.network, data.eval_dataloader(part)) for part in parts}
    description, tensors = _describe(config, module, data, scores)
    decision = description.decision
    to_json(decision.to_dict(), run.decision)
    with written_whole(run.predictions) as beside:
        tables = [_predictions(part, read, data, decision) for part, read in scores.items()]
        pd.concat(tables, ignore_index=True).to_parquet(beside, index=False)
    embedded: dict[str, Any] = {
        "id": np.concatenate([ids[part.positions] for part in scores.values()]).astype(str),
        "split": np.repeat(list(scores), [len(part.positions) for part in scores.values()]),
        "target": np.concatenate([part.targets for part in scores.values()]),
        "embedding": np.concatenate([part.embeddings for part in scores.values()]),
    }
    kept = np.sort(np.random.default_rng(config.seed).permutation(total := len(embedded["id"]))[:MAX_EMBEDDINGS])
    with written_whole(run.embeddings) as beside:
        np.savez(beside, total=total, **{name: values[kept] for name, values in embedded.items()})
    trained = [data.set.samples.take(data.parts["train"])]
    if (more := data.set.unlabelled) is not None:
        trained.append(more.samples.take(more.chosen))
    marks = [samples.kind.marks(samples) for samples in trained]
    save_training(run.path / FOLDER, {name: [text for each in marks for text in each[name]] for name in marks[0]})
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


def _predictions(part: str, read: Scores, data: DataModule, decision: Decision) -> pd.DataFrame:
    names = np.array(data.class_names, dtype=object)
    columns = {
        "id": data.set.samples.ids[read.positions],
        "split": part,
        "target": names[read.targets],
        "predicted": names[read.probabilities.argmax(1)],
        "predicted_at_decision": names[decision.apply(read.probabilities)],
    }
    columns |= {f"prob_{name}": read.probabilities[:, c] for c, name in enumerate(names)}
    if data.values is not None:
        for k, name in enumerate(data.values.names):
            columns[f"number_{name}"] = data.values.numbers[read.positions, k]
            columns[f"value_{name}"] = read.numbers[:, k]
    return pd.DataFrame(columns)


def _describe(
    config: Config, module: TrainingModule, data: DataModule, scores: dict[str, Scores]
) -> tuple[ModelDescription, dict[str, torch.Tensor]]:
    """Give what prediction needs: classes, decision, calibration, where the training part lies, and the tensors."""
    validation = scores["val"]
    reference = Reference.fit(scores["train"].embeddings, validation.embeddings, seed=config.seed)
    trained = data.set.samples.take(data.parts["train"])
    kind, labels, values = trained.kind, trained.labels, config_to_dict(config)
    assert labels is not None, "what is trained on has classes"
    try:
        decision = choose_decision(
            config.decision,
            validation.targets,
            validation.probabilities,
            data.class_names,
            data.class_counts,
            data.drawn_counts,
        )
    except InputError as error:  # an aim that is out of reach; a finished training is not thrown away
        rule = config.decision.rule
        warnings.warn(f"--decision.rule {rule}: {error}; the most likely class is predicted instead", MatcardWarning, 2)
        decision = argmax(data.class_names)
    description = ModelDescription(
        class_names=tuple(data.class_names),
        class_counts=tuple(data.class_counts.tolist()),
        drawn_counts=tuple(data.drawn_counts.tolist()),
        target={"column": labels.target, "edges": list(labels.edges), "classes": list(labels.classes)},
        model=values["model"],
        kind=kind.to_dict(),
        decision=decision,
        calibration=fit_calibration(validation.targets, validation.probabilities),
        bias_corrected=fit_calibration(validation.targets, validation.probabilities, biased=True),
        components=tuple(dict.fromkeys(chain.from_iterable(kind.contents(trained.inputs, trained.columns[[]])))),
        novelty_limit=reference.limit,
        config=values,
        scale=data.scale,
        mix=module.mix,
    )
    tensors = module.network.state_dict()
    tensors["reference.embeddings"] = torch.from_numpy(reference.embeddings)
    return description, tensors
