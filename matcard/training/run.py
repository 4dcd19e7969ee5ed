"""A run from its configuration to its files: read, split, fit, choose the best epoch, test once."""

from __future__ import annotations

import warnings
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from matcard.cli import make_console, rank
from matcard.data.dataset import changed
from matcard.data.read import divide, read_labelled
from matcard.errors import InputError, MatcardWarning
from matcard.evaluation.choice import check_decision
from matcard.evaluation.tables import class_count_table
from matcard.files import to_json
from matcard.progress import crystal_progress
from matcard.training.batches import DataModule
from matcard.training.fit import check_config, fit
from matcard.training.results import write_results
from matcard.training.rundir import RunDir, write_left_out, write_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rich.console import Console

    from matcard.data.dataset import TrainingSet
    from matcard.data.samples import Samples
    from matcard.training.options import Config

    Report = Callable[[Path, Samples], object]
    """Writes the report of a finished run from its directory and what its source holds."""


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
        if begun or rank() != 0:
            return
        run.create(config)
        write_left_out(samples, run.left_out)
        if data.distinct is not None:
            to_json(data.distinct.to_dict(), run.distinct)
        # The split last: where it is found, by a resumed run or by another process, all else is there too.
        write_text(run.fingerprint, divided.fingerprint + "\n")
        write_text(run.split, divided.split.to_json(divided.ids))

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
    for text in () if distinct is None else distinct.warnings(data.set.unit):
        warnings.warn(text, MatcardWarning, stacklevel=2)
    if len(cut):
        console.print(f"{len(cut)} {data.set.unit} are cut out of the parts on purpose, see {run.split}")
    if unlabelled := int((~bad & (samples.codes < 0)).sum()):
        console.print(f"{unlabelled} rows without a target are left out, see {run.left_out}")
    of_none = samples.texts[bad & (samples.codes < 0) & (samples.texts != "")]
    for name, count in Counter(of_none.tolist()).items():
        console.print(f"{count} rows left out are of class {name!r}, which has no row that can be used")
    for note in data.set.notes:
        console.print(note)
