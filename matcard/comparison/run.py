"""A comparison from its options to its files: its cells trained, then tables and figures."""

from __future__ import annotations

import dataclasses
import shlex
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from matcard.cli import make_console
from matcard.comparison.cells import Cell, CellJob, CellStore, check_data, data_of, run_network
from matcard.comparison.experiment import read_experiment
from matcard.comparison.plan import Plan
from matcard.comparison.report import write_report
from matcard.comparison.results import results_table, summarise
from matcard.comparison.rivals import Rival, run_rival
from matcard.comparison.tables import captions, score_tables, short_tables, task_tables, to_latex, to_markdown
from matcard.errors import InputError, TrainingError
from matcard.files import written_whole
from matcard.report.page import plural
from matcard.training.config import flatten, nested, overlaid
from matcard.training.rundir import environment, write_text
from matcard.work.attempt import DirectWire
from matcard.work.conduct import Item
from matcard.work.folder import held
from matcard.work.pool import engine
from matcard.work.screen import Screen
from matcard.work.trainings import SharedData, told

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    import pandas as pd
    from rich.console import Console

    from matcard.comparison.experiment import Experiment
    from matcard.comparison.options import CompareOptions
    from matcard.comparison.plan import Pair, Records, Row
    from matcard.work.attempt import Record

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
            console.print(f"reading the data of {task.name}", soft_wrap=True, markup=False)
            check_data(experiment, task, folder / "data", data)
        console.print(f"comparison: {folder}", soft_wrap=True, markup=False)
        store, plan = CellStore(folder / "cells"), Plan(experiment)
        tell_estimate(experiment, plan, store.records, 1 if options.scheduler else options.jobs, data, console)
        try:
            with (
                Screen(console, "cells", plan.total, plan.done(store.records)) as screen,
                engine(options.jobs, options.scheduler, folder, console) as do,
            ):
                do(Cells(experiment, plan, store, data, screen))
        except KeyboardInterrupt:
            done = sum(row.status == "finished" for row in plan.rows(store.records))
            raise KeyboardInterrupt(
                f"{done} cells are finished and kept in {store.folder}; the same command goes on with the rest"
            ) from None
        rows = plan.rows(store.records)
        summary = write_outputs(folder, experiment, rows, command or shlex.join(environment()["command"]))
        _print_tables(experiment, summary, console)
        _tell_failed(rows, plan.to_be_made_again(store.records), store.folder, console)
        console.print(f"tables: {folder / 'table.md'}; report: {folder / 'report.html'}", soft_wrap=True)
    if rows and all(row.status != "finished" for row in rows):
        raise TrainingError(f"no cell of {folder} came to an end; mend what is said above of the first, and run again")
    return folder


class Cells:
    """Has every cell of an experiment trained: an agenda.

    Args:
        experiment: what is compared.
        plan: of the experiment.
        store: of its cells; those that failed and are of use are made again, after all others.
        data: of the cells.
        screen: shows those that end.
    """

    def __init__(self, experiment: Experiment, plan: Plan, store: CellStore, data: SharedData, screen: Screen) -> None:
        self._options = {task.name: task.data() for task in experiment.tasks}
        self._data = data
        self._plan = plan
        self._store = store
        self._screen = screen
        self._again = plan.to_be_made_again(store.records)
        store.forget(self._again)
        self._given: dict[str, Cell] = {}

    def next(self, running: Collection[str]) -> Item | None:
        """Give a cell that has not ended; one that failed before, and might fail again, comes last."""
        rows = self._plan.rows(self._store.records)
        ready = [row.cell for row in rows if row.record is None and row.cell.key not in running]
        if not ready:
            return None
        cell = min(ready, key=lambda one: one.key in self._again)
        self._given[cell.key] = cell
        return Item(cell.key, CellJob(cell, self._options[cell.task], self._data))

    def heard(self, key: str, message: Any) -> Any:
        """Nothing is pruned."""
        return None

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
    return f"{name} macro-F1 {record['run'][part]['argmax']['macro_f1']:.3f}"


def write_outputs(folder: Path, experiment: Experiment, rows: Sequence[Row], command: str) -> pd.DataFrame:
    """Write results.parquet, table.md, table.tex, figures and report.html from the cells alone; gives the summary."""
    results = results_table(rows)
    with written_whole(folder / "results.parquet") as beside:
        results.to_parquet(beside, index=False, compression="zstd")  # texts that repeat from row to row
    summary = summarise(results, experiment)
    tables = [
        *short_tables(summary, experiment), *task_tables(summary, experiment), *score_tables(summary, experiment)
    ]  # fmt: skip
    said = captions(experiment)
    write_text(folder / "table.md", to_markdown(tables, title=experiment.title, command=command, captions=said))
    write_text(folder / "table.tex", to_latex(tables, command=command, captions=said))
    write_report(folder, experiment, results, summary, command)
    return summary


def _print_tables(experiment: Experiment, summary: pd.DataFrame, console: Console) -> None:
    # As many columns as a screen has room for; all are in the file.
    metrics = tuple(dict.fromkeys([experiment.metrics[0], experiment.metrics[-1]]))
    for text in short_tables(summary, dataclasses.replace(experiment, metrics=metrics))[:_SHOWN]:
        shown = Table(title=text.title, box=SIMPLE_HEAD, title_justify="left", pad_edge=False)
        for k, name in enumerate(text.header):
            shown.add_column(name, justify="right" if k else "left")
        for row in text.rows:
            shown.add_row(*map(Text, row))
        console.print(shown)


def _tell_failed(rows: Sequence[Row], again: Collection[str], cells: Path, console: Console) -> None:
    failed = [row for row in rows if row.status == "failed"]
    if not failed:
        return
    number = sum(row.cell.key in again for row in failed)
    told = "the same command runs them again"
    if number < len(failed):
        told = f"the same command runs {number} of them again; any other if its file in {cells} is deleted"
    console.print(f"{plural(len(failed), 'cell')} failed; {told}. The first:", soft_wrap=True, markup=False)
    console.print(f"{failed[0].cell.label}: {(failed[0].record or {})['reason']}", soft_wrap=True, markup=False)


def tell_estimate(
    experiment: Experiment, plan: Plan, records: Records, jobs: int, data: SharedData, console: Console
) -> None:
    """Print how long the cells take that are left, where they are many.

    A cell takes as long as those of its loss on its data set that have ended. Where none has, rivals are fitted with
    few trees or epochs, twice, and the time of the whole follows; and so is one network of each data set for all of
    them.

    Args:
        experiment: what is compared.
        plan: of the experiment.
        records: of the cells that have ended.
        jobs: cells that are trained at the same time.
        data: of the cells.
        console: what is printed to.
    """
    left = {pair: pair.total - sum(cell.key in records for cell in pair.cells(records)) for pair in plan.pairs}
    left = {pair: number for pair, number in left.items() if number}
    if sum(left.values()) < FEW:
        return
    ended: dict[tuple[str, str], list[float]] = {}
    for row in plan.rows(records):
        if row.record is not None and row.status == "finished":
            ended.setdefault((row.cell.task, row.cell.method), []).append(row.record["seconds"])
    probed: dict[tuple[str, str], float] = {}
    times: dict[Pair, float] = {}
    for pair in left:
        kind = (pair.task.name, pair.method.label if pair.method.is_rival else "")
        seconds = ended.get((pair.task.name, pair.method.label))
        if not seconds and kind not in probed:
            probed[kind] = _probed(experiment, pair, data)
        times[pair] = float(np.mean(seconds)) if seconds else probed[kind]
    total = np.nansum([left[pair] * seconds for pair, seconds in times.items()]) / jobs
    if not total:  # nothing could be tried
        return
    longest = max(times, key=lambda pair: np.nan_to_num(times[pair]))
    time_left, each = (timedelta(seconds=round(seconds)) for seconds in (float(total), times[longest]))
    console.print(
        f"{sum(left.values()):,} cells are left: about {time_left} (h:mm:ss) with {jobs} at a time; the longest are of "
        f"{longest.method.label} on {longest.task.name}, {each} each",
        soft_wrap=True,
        markup=False,
        highlight=False,
    )


def _probed(experiment: Experiment, pair: Pair, shared: SharedData) -> float:
    """Train shortly, and give the seconds that the whole will take; NaN where that cannot be done."""
    config = experiment.base(pair.task, pair.method)
    option = Rival.find(config["rival"]["name"]).options_class.length if pair.method.is_rival else "trainer.max_epochs"
    cell = Cell(pair.task.name, pair.method.label, "test", experiment.seed, config, pair.development)
    try:
        data = data_of(cell, pair.task.data(), shared)
        if option is None:
            return _seconds(config, data)
        whole = int(flatten(config)[option])
        short, longer = 1, 1 + max(1, whole // _SHARE)
        # The first one imports and compiles.
        _, first, second = (_seconds(overlaid(config, nested({option: n})), data) for n in (short, short, longer))
    except (InputError, TrainingError):
        return float("nan")
    return first + max(second - first, 0.0) / (longer - short) * (whole - short)


def _seconds(config: dict[str, Any], data: Any) -> float:
    began = time.perf_counter()
    with told():
        if "rival" in config:
            run_rival(config, data, tested=False)
        else:
            with tempfile.TemporaryDirectory() as folder:
                run_network(config, data, tested=False, folder=Path(folder), line=DirectWire(lambda _: None))
    return time.perf_counter() - began
