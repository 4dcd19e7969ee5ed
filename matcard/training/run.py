"""A run from its configuration to its files: read, split, fit, choose the best epoch, test once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matcard.cli import make_console
from matcard.errors import InputError
from matcard.evaluation.choice import check_decision
from matcard.training.data import DataModule
from matcard.training.fit import check_config, fit
from matcard.training.prepare import prepare_data, read_data, show_data
from matcard.training.results import write_results
from matcard.training.rundir import RunDir

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rich.console import Console

    from matcard.data.labelling import LabelledTable
    from matcard.data.tables import Table
    from matcard.training.options import Config

    Report = Callable[[Path, Table], object]
    """Writes the report of a finished run from its directory and what its source holds."""


def train(config: Config, console: Console | None = None, report: Report | None = None) -> RunDir:
    """Train a new run and give its directory.

    Args:
        config: options of the run.
        console: what is printed to.
        report: called at the end, unless the options ask for no report.

    Raises:
        InputError: options or input that cannot be used; what is wrong and what to do.
        TrainingError: the loss stopped being finite.
    """
    check_config(config)
    console = console or make_console()
    labelled = read_data(config, console)
    return _carry_out(RunDir.create(config), config, labelled, console, report)


def resume(path: Path, console: Console | None = None, report: Report | None = None) -> RunDir:
    """Go on with a killed run from its last finished epoch; arguments as `train`.

    Raises:
        InputError: not a run's directory, a finished run, or data that have changed since.
    """
    run = RunDir.open(path)
    if run.test_metrics.is_file():
        raise InputError(f"{path} is finished: its test metrics are in {run.test_metrics}")
    config = run.load_config()
    console = console or make_console()
    return _carry_out(run, config, read_data(config, console), console, report)


def _carry_out(run: RunDir, config: Config, labelled: LabelledTable, console: Console, report: Report | None) -> RunDir:
    data = DataModule(prepare_data(run, config, labelled, console), config.trainer, config.seed)
    show_data(run, config, data, labelled, console)
    check_decision(config.decision, data.class_names, data.class_counts)
    module = fit(run, config, data, console)
    if module is not None:
        write_results(run, module, data, console)
        if report and config.report:
            report(run.path, labelled.table)
    return run
