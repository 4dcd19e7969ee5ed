"""A comparison from its options to its files: its cells trained, then tables and figures."""

from __future__ import annotations

import dataclasses
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from matcard.cli import make_console
from matcard.comparison.agenda import Cells, count_done
from matcard.comparison.cells import CellStore
from matcard.comparison.data import check_data, tell_changed
from matcard.comparison.experiment_file import read_experiment
from matcard.comparison.plan import Plan
from matcard.comparison.report import write_report
from matcard.comparison.rows import results_table, write_results
from matcard.comparison.summary import summarise
from matcard.comparison.tables import captions, outcome_table, score_tables, short_tables, to_latex, to_markdown
from matcard.errors import TrainingError
from matcard.report.html import plural
from matcard.training.rundir import environment, write_text
from matcard.work.lock import held
from matcard.work.pool import engine
from matcard.work.screen import Screen

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from matcard.comparison.experiment import Experiment
    from matcard.comparison.options import CompareOptions
    from matcard.comparison.plan import Row


@dataclass(frozen=True)
class CompareDir:
    """Names of what lies in the folder of a comparison."""

    path: Path

    @property
    def cells(self) -> Path:
        """A JSON file for each cell that has ended."""
        return self.path / "cells"

    @property
    def data(self) -> Path:
        """What of each task's source was left out, and what its samples were."""
        return self.path / "data"


def compare(options: CompareOptions, *, console: Console | None = None, command: str | None = None) -> CompareDir:
    """Run a comparison, or go on with it, and write its tables, figures and report.

    Args:
        options: which experiment, and what of it differs.
        console: what is printed to.
        command: how tables say that they are made; the command line of this program where not given.

    Raises:
        InputError: an experiment, options or data that cannot be used; another command is at work in the folder.
        TrainingError: workers do not start; every cell failed.
        KeyboardInterrupt: interrupted; the message says what is kept.
    """
    console = console or make_console()
    experiment = read_experiment(options)
    experiment.check()
    folder = CompareDir(Path(options.folder) if options.folder else Path("runs/compare") / experiment.name)
    with held(folder.path, "--folder"):
        for task in experiment.tasks if experiment.protocol == "matcard" else ():
            console.print(f"reading the data of {task.name}", soft_wrap=True, markup=False)
            check_data(task, experiment.seed, folder.data)
        console.print(f"comparison: {folder.path}", soft_wrap=True, markup=False)
        store, plan = CellStore(folder.cells), Plan(experiment)
        _run(experiment, plan, store, options, folder, console)
        rows = plan.rows(store.records)
        write_outputs(folder, experiment, rows, command or shlex.join(environment()["command"]))
        _print_outcome(folder, experiment, rows, store, console)
    if rows and all(row.status != "finished" for row in rows):
        raise TrainingError(
            f"no cell of {folder.path} came to an end; mend what is said above of the first, and run again"
        )
    return folder


def _run(
    experiment: Experiment, plan: Plan, store: CellStore, options: CompareOptions, folder: CompareDir, console: Console
) -> None:
    before = count_done(plan.rows(store.records))
    try:
        with (
            Screen(console, "cells", plan.total, before) as screen,
            engine(options.jobs, options.scheduler, folder.path, console) as do,
        ):
            do(Cells(experiment, plan, store, screen))
    except KeyboardInterrupt:
        done = sum(row.status == "finished" for row in plan.rows(store.records))
        raise KeyboardInterrupt(
            f"{done} cells are finished and kept in {folder.cells}; the same command goes on with the rest"
        ) from None


def write_outputs(folder: CompareDir, experiment: Experiment, rows: Sequence[Row], command: str) -> None:
    """Write results.parquet, table.md, table.tex, figures and report.html from the cells alone."""
    results = results_table(rows)
    tell_changed(results)
    write_results(results, folder.path / "results.parquet")
    summary = summarise(results, experiment)
    tables = short_tables(summary, experiment)
    if len(experiment.tasks) > 1 and len(experiment.methods) > 1:
        tables.append(outcome_table(summary, experiment))
    tables += score_tables(summary, experiment)
    said = captions(experiment)
    write_text(folder.path / "table.md", to_markdown(tables, title=experiment.title, command=command, captions=said))
    write_text(folder.path / "table.tex", to_latex(tables, command=command, captions=said))
    write_report(folder.path, experiment, results, summary, command)


def _print_outcome(
    folder: CompareDir, experiment: Experiment, rows: Sequence[Row], store: CellStore, console: Console
) -> None:
    # As many columns as a screen has room for; all are in the file.
    metrics = tuple(dict.fromkeys([experiment.metrics[0], experiment.metrics[-1]]))
    narrow = dataclasses.replace(experiment, metrics=metrics)
    for text in short_tables(summarise(results_table(rows), narrow), narrow)[:_SHOWN]:
        shown = Table(title=text.title, box=SIMPLE_HEAD, title_justify="left", pad_edge=False)
        for k, name in enumerate(text.header):
            shown.add_column(name, justify="right" if k else "left")
        for row in text.rows:
            shown.add_row(*map(Text, row))
        console.print(shown)
    failed = [row for row in rows if row.status == "failed"]
    if failed:
        again = store.to_be_made_again()
        number = sum(row.cell.key in again for row in failed)
        told = "the same command runs them again"
        if number < len(failed):
            told = f"the same command runs {number} of them again; any other if its file in {folder.cells} is deleted"
        console.print(f"{plural(len(failed), 'cell')} failed; {told}. The first:", soft_wrap=True, markup=False)
        console.print(f"{failed[0].cell.label}: {(failed[0].record or {})['reason']}", soft_wrap=True, markup=False)
    console.print(f"tables: {folder.path / 'table.md'}; report: {folder.path / 'report.html'}", soft_wrap=True)


_SHOWN = 8
"""Tables on screen; all are in the file."""
