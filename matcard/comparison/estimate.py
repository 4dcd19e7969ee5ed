"""How long a comparison will take, said before it begins: by cells of a kind that have ended, else by short ones."""

from __future__ import annotations

import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from matcard.comparison.cell import run_network
from matcard.comparison.cells import Cell
from matcard.comparison.data import data_of
from matcard.comparison.experiment import with_sources
from matcard.comparison.rivals import Rival, run_rival
from matcard.errors import InputError, TrainingError
from matcard.training.config import flatten, nested, overlaid
from matcard.work.attempt import DirectWire
from matcard.work.trainings import told

if TYPE_CHECKING:
    from rich.console import Console

    from matcard.comparison.experiment import Experiment
    from matcard.comparison.plan import Pair, Plan, Records

FEW = 20
"""Fewer cells show by themselves how long they take."""
_SHARE = 20
"""The longer of two short trainings has one more epoch, or tree, in so many of the whole."""


def tell_estimate(experiment: Experiment, plan: Plan, records: Records, jobs: int, console: Console) -> None:
    """Print how long the cells take that are left, where they are many.

    A cell takes as long as those of its loss on its data set that have ended. Where none has, rivals are fitted with
    few trees or epochs, twice, and the time of the whole follows; and so is one network of each data set for all of
    them.

    Args:
        experiment: what is compared.
        plan: of the experiment.
        records: of the cells that have ended.
        jobs: cells that are trained at the same time.
        console: what is printed to.
    """
    left = {pair: pair.total - sum(cell.key in records for cell in pair.cells(records)) for pair in plan.pairs}
    if sum(left.values()) < FEW:
        return
    known: dict[tuple[str, str], float] = {}
    for pair in filter(left.get, plan.pairs):
        about = (pair.task.name, pair.method.label)
        if about not in known:
            seconds = [records[cell.key]["seconds"] for cell in pair.cells(records) if cell.key in records]
            kind = (pair.task.name, pair.method.label if pair.method.is_rival else "")
            if not seconds and kind not in known:
                known[kind] = _probed(experiment, pair)
            known[about] = float(np.mean(seconds)) if seconds else known[kind]
    times = {pair: known[pair.task.name, pair.method.label] for pair in left if left[pair]}
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


def _probed(experiment: Experiment, pair: Pair) -> float:
    """Train shortly, and give the seconds that the whole will take; NaN where that cannot be done."""
    config = experiment.base(pair.task, pair.method)
    option = Rival.find(config["rival"]["name"]).options_class.length if pair.method.is_rival else "trainer.max_epochs"
    cell = Cell(pair.task.name, pair.method.label, "test", experiment.seed, config, pair.development)
    section = with_sources(pair.task.config["data"], pair.task)
    try:
        data = data_of(cell, section)
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
