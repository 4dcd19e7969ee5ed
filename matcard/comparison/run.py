"""A comparison from its options to its files: its cells trained, then tables and figures."""

from __future__ import annotations

import dataclasses
import shlex
import shutil
import tempfile
from datetime import timedelta
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.markdown import Markdown

from matcard.cli import make_console
from matcard.comparison import tables
from matcard.comparison.cells import Cell, CellStore, check_data, train_cell
from matcard.comparison.experiment import read_experiment
from matcard.comparison.plan import Plan
from matcard.comparison.report import write_report
from matcard.comparison.results import metric, results_table, summarise
from matcard.comparison.rivals import Rival
from matcard.errors import InputError, TrainingError
from matcard.files import written_whole
from matcard.report.page import plural
from matcard.training.config import flatten, nested, overlaid
from matcard.training.rundir import environment, write_text
from matcard.work.attempt import Wire, attempts, read_record
from matcard.work.conduct import Agenda, died_in_vain
from matcard.work.folder import held
from matcard.work.pool import engine
from matcard.work.screen import Screen, say
from matcard.work.trainings import SharedData

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    import pandas as pd
    from rich.console import Console

    from matcard.comparison.experiment import Experiment
    from matcard.comparison.options import CompareOptions
    from matcard.comparison.plan import Pair, Records, Row
    from matcard.work.attempt import Job, Record

_SHOWN = 8
"""Tables on screen; all are in the file."""
FEW = 20
"""Fewer cells show by themselves how long they take."""
_SHARE = 20
"""The longer of two short trainings has one more epoch, or tree, in so many of the whole."""


def compare(options: CompareOptions, *, console: Console | None = None, command: str | None = None) -> Path:
    """Run a comparison, or go on with it, and write its tables, figures and report.

    Args:
        options: which experiment, and what of it differs.
        console: what is printed to.
        command: how tables say that they are made; the command line of this program where not given.

    Returns:
        the folder: `cells` has a JSON file for each cell that has ended, `data` what of each task's source was left out
        and what its samples were; beside them are the tables and the report.

    Raises:
        InputError: an experiment, options or data that cannot be used; another command is at work in the folder.
        TrainingError: workers do not start; every cell failed.
        KeyboardInterrupt: interrupted; the message says what is kept.
    """
    console = console or make_console()
    experiment = read_experiment(options)
    experiment.check()
    folder = Path(options.folder) if options.folder else Path("runs/compare") / experiment.name
    data = SharedData()
    with held(folder, "--folder"):
        for task in experiment.tasks:
            say(console, f"reading the data of {task.name}")
            if unused := check_data(experiment, task, folder / "data", data):
                say(console, f"{task.name}: {plural(unused, 'row')} not used; {folder / 'data'} has the reason of each")
        say(console, f"comparison: {folder}")
        store, plan = CellStore(folder / "cells"), Plan(experiment)
        if store.records and not plan.done(store.records):
            what = f"none of the {plural(len(store.records), 'cell')} in {folder} is of this experiment"
            say(console, f"{what}: they stay, but tables and report are written anew without them")
        again = plan.to_be_made_again(store.records)
        for key in again:
            del store.records[key]
            for made in attempts(folder / "running" / key):  # one that finished, or is under way, stays
                if died_in_vain(made) or (read_record(made) or {}).get("status") == "failed":
                    shutil.rmtree(made, ignore_errors=True)
        try:
            tell_estimate(plan, store.records, 1 if options.scheduler else options.jobs, data, console)
            with (
                Screen(console, "cells", plan.total, plan.done(store.records)) as screen,
                engine(options.jobs, options.scheduler, folder, console) as do,
            ):
                do(Cells(plan, store, data, screen, again))
        except KeyboardInterrupt:
            done = sum(row.status == "finished" for row in plan.rows(store.records))
            raise KeyboardInterrupt(
                f"{done} cells are finished and kept in {store.folder}; the same command goes on with the rest"
            ) from None
        rows = plan.rows(store.records)
        summary = write_outputs(folder, experiment, rows, command or shlex.join(environment()["command"]))
        # As many columns as a screen has room for; all are in the file.
        metrics = tuple(dict.fromkeys([experiment.metrics[0], experiment.metrics[-1]]))
        shown = tables.short_tables(summary, dataclasses.replace(experiment, metrics=metrics))[:_SHOWN]
        console.print(Markdown("\n\n".join(map(tables.markdown_table, shown))))
        _tell_failed(rows, plan.to_be_made_again(store.records), store.folder, console)
        say(console, f"tables: {folder / 'table.md'}; report: {folder / 'report.html'}")
    if rows and all(row.status != "finished" for row in rows):
        raise TrainingError(f"no cell of {folder} came to an end; mend what is said above of the first, and run again")
    return folder


class Cells(Agenda):
    """Has every cell of an experiment trained: an agenda.

    Args:
        plan: of the experiment.
        store: of its cells.
        data: of the cells.
        screen: shows those that end.
        again: keys of those that are made again, after all others.
    """

    def __init__(self, plan: Plan, store: CellStore, data: SharedData, screen: Screen, again: Collection[str]) -> None:
        self._options = {pair.task.name: pair.task.data() for pair in plan.pairs}
        self._data = data
        self._plan = plan
        self._store = store
        self._screen = screen
        self._again = again
        self._given: dict[str, Cell] = {}

    def next(self, running: Collection[str]) -> tuple[str, Job] | None:
        """Give a cell that has not ended; one that failed before, and might fail again, comes last."""
        rows = self._plan.rows(self._store.records)
        ready = [row.cell for row in rows if row.record is None and row.cell.key not in running]
        if not ready:
            return None
        cell = min(ready, key=lambda one: one.key in self._again)
        self._given[cell.key] = cell
        return cell.key, partial(train_cell, cell, self._options[cell.task], self._data)

    def ended(self, key: str, record: Record, folder: Path | None) -> None:
        """Write the record of a cell."""
        cell = self._given[key]
        self._store.write(cell, record)
        done, record = self._plan.done(self._store.records), self._store.records[key]
        self._screen.ended(f"{cell.label}: {_outcome(record)}", done, failed=record["status"] == "failed")


def _outcome(record: Record) -> str:
    if record["status"] == "failed":
        return f"failed: {record['reason']}"
    part, name = ("test", "test") if "test" in record["run"] else ("val", "validation")
    config = record["config"]
    monitor = config["monitor"] if "rival" in config else config["trainer"]["monitor"]
    value = record["run"][part]["argmax"].get(monitor)
    return f"{name} {metric(monitor).label} {'undefined' if value is None else f'{value:.3f}'}"


def write_outputs(folder: Path, experiment: Experiment, rows: Sequence[Row], command: str) -> pd.DataFrame:
    """Write results.parquet, table.md, table.tex, figures and report.html from the cells alone; gives the summary."""
    results = results_table(rows)
    with written_whole(folder / "results.parquet") as beside:
        results.to_parquet(beside, index=False, compression="zstd")  # texts that repeat from row to row
    summary = summarise(results, experiment)
    made = (each(summary, experiment) for each in (tables.short_tables, tables.task_tables, tables.score_tables))
    shown, said = list(chain(*made)), tables.captions(experiment)
    write_text(folder / "table.md", tables.to_markdown(shown, title=experiment.title, command=command, captions=said))
    write_text(folder / "table.tex", tables.to_latex(shown, command=command, captions=said))
    write_report(folder, experiment, results, summary, command)
    return summary


def _tell_failed(rows: Sequence[Row], again: Collection[str], cells: Path, console: Console) -> None:
    failed = [row for row in rows if row.status == "failed"]
    if not failed:
        return
    number = sum(row.cell.key in again for row in failed)
    told = "the same command runs them again"
    if number < len(failed):
        told = f"the same command runs {number} of them again; any other if its file in {cells} is deleted"
    say(console, f"{plural(len(failed), 'cell')} failed; {told}. The first:")
    say(console, f"{failed[0].cell.label}: {(failed[0].record or {})['reason']}")


def tell_estimate(plan: Plan, records: Records, jobs: int, data: SharedData, console: Console) -> None:
    """Print how long the cells take that are left, where they are many.

    Each rival, and one network of each data set for all of them, is trained with few trees or epochs, twice; the time
    of the whole follows.

    Args:
        plan: of the experiment.
        records: of the cells that have ended.
        jobs: cells that are trained at the same time.
        data: of the cells.
        console: what is printed to.
    """
    left = {pair: pair.total - sum(cell.key in records for cell in pair.cells(records)) for pair in plan.pairs}
    if sum(left.values()) < FEW:
        return
    kinds = {pair: (pair.task.name, pair.method.label * pair.method.is_rival) for pair, cells in left.items() if cells}
    first = {kind: pair for pair, kind in reversed(kinds.items())}
    times = {kind: _probed(pair, data) for kind, pair in first.items()}
    if total := float(np.nansum([left[pair] * times[kind] for pair, kind in kinds.items()])) / jobs:
        time_left = timedelta(seconds=round(total))
        say(console, f"{sum(left.values()):,} cells are left: about {time_left} (h:mm:ss) with {jobs} at a time")


def _probed(pair: Pair, data: SharedData) -> float:
    """Train shortly, and give the seconds that the whole will take; NaN where that cannot be done."""
    config = pair.base
    option = Rival.find(config["rival"]["name"]).options_class.length if pair.method.is_rival else "trainer.max_epochs"
    try:
        if option is None:
            return _seconds(pair, config, data)
        whole = int(flatten(config)[option])
        short, longer = 1, 1 + max(1, whole // _SHARE)
        # The first one imports and compiles.
        lengths = (short, short, longer)
        _, first, second = (_seconds(pair, overlaid(config, nested({option: n})), data) for n in lengths)
    except (InputError, TrainingError):
        return float("nan")
    return first + max(second - first, 0.0) / (longer - short) * (whole - short)


def _seconds(pair: Pair, config: dict[str, Any], data: SharedData) -> float:
    """Train once, without a look at the test part, and give the seconds."""
    cell, line = Cell(pair.task.name, pair.method.label, "trial", 0, config), Wire(lambda _: None)
    with tempfile.TemporaryDirectory() as folder:
        return float(train_cell(cell, pair.task.data(), data, Path(folder), line)["run"]["seconds"])
