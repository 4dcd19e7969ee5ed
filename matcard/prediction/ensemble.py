"""One run or several on the same crystals: mean, spread, the decision, and where none of them should be trusted."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from matcard.crystals import build_graphs
from matcard.errors import InputError, MatcardWarning
from matcard.evaluation.thresholds import mean_decision
from matcard.prediction.rows import object_rows
from matcard.prediction.run import BATCH_SIZE, Read
from matcard.prediction.table import Predictions, prediction_table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    import pandas as pd
    from jaxtyping import Int64, Shaped

    from matcard.crystals.table import Crystals
    from matcard.prediction.rows import Rows
    from matcard.prediction.run import Run


class Readings(NamedTuple):
    """What each run reads out of the crystals `positions`, and why the others cannot be used."""

    positions: Int64[np.ndarray, " m"]
    reads: list[Read]
    errors: Shaped[np.ndarray, " n"]


class Ensemble:
    """Runs that share their classes; one alone is an ensemble too. Each builds the graphs that it was trained on.

    Args:
        runs: one or more.

    Raises:
        InputError: none, or runs on different classes.
    """

    def __init__(self, runs: Sequence[Run]) -> None:
        if not runs:
            raise InputError("no run to predict with: name at least one")
        for run in runs[1:]:
            if run.class_names != runs[0].class_names:
                raise InputError(
                    f"{run.path} has the classes {', '.join(run.class_names)}, {runs[0].path} has "
                    f"{', '.join(runs[0].class_names)}: runs of an ensemble share their classes and their order"
                )
        self.runs = list(runs)
        self.class_names = runs[0].class_names
        self.decision = mean_decision([run.description.decision for run in runs])

    def predict(
        self,
        structures: Iterable[Any],
        *,
        ids: Sequence[str] | None = None,
        batch_size: int = BATCH_SIZE,
        calibrated: bool = False,
    ) -> pd.DataFrame:
        """Predict as `Run.predict` does, with the mean probabilities and their spread over the runs."""
        return self.table(object_rows(structures, ids), batch_size=batch_size, calibrated=calibrated)

    def embed(self, structures: Iterable[Any], *, batch_size: int = BATCH_SIZE) -> list[np.ndarray]:
        """Give each run's embeddings as `Run.embed` does."""
        rows = object_rows(structures)
        readings = self.read(rows.crystals, rows.errors, batch_size=batch_size)
        if len(readings.positions) < len(rows.ids):
            first = next(i for i, error in enumerate(readings.errors) if error is not None)
            warnings.warn(
                f"{len(rows.ids) - len(readings.positions)} of {len(rows.ids)} structures cannot be used, their "
                f"embedding is NaN; the first is {rows.where[first]}: {readings.errors[first]}",
                MatcardWarning,
                stacklevel=3,
            )
        return [spread_out(read.embeddings, readings.positions, len(rows.ids)) for read in readings.reads]

    def table(
        self, rows: Rows, *, batch_size: int = BATCH_SIZE, jobs: int | None = None, calibrated: bool = False
    ) -> pd.DataFrame:
        """Predict rows; the columns are those of `matcard.prediction.table.columns`."""
        readings = self.read(rows.crystals, rows.errors, batch_size=batch_size, jobs=jobs)
        return self.lay_out(rows, readings, calibrated=calibrated)

    def lay_out(self, rows: Rows, readings: Readings, *, calibrated: bool = False) -> pd.DataFrame:
        """Give the table of `rows`, of which `readings` were read."""
        members = np.stack([read.probabilities for read in readings.reads])
        shown = members
        if calibrated and len(readings.positions):
            temperatures = [run.description.temperature for run in self.runs]
            shown = np.stack([t.apply(p) for t, p in zip(temperatures, members, strict=True)])
        mean = members.mean(axis=0)
        predictions = Predictions(
            positions=readings.positions,
            mean=shown.mean(axis=0),
            spread=shown.std(axis=0, ddof=1) if len(self.runs) > 1 else None,
            chosen=self.decision.apply(mean) if len(mean) else np.empty(0, np.int64),
            argmax=mean.argmax(axis=1),
            novelty=np.max(
                [run.reference.novelty(read.embeddings) for run, read in zip(self.runs, readings.reads, strict=True)],
                axis=0,
            ),
            foreign=self._foreign(rows.crystals, readings.positions),
        )
        return prediction_table(rows.ids, rows.where, readings.errors, predictions, self.class_names)

    def read(
        self,
        crystals: Crystals,
        errors: Shaped[np.ndarray, " n"],
        *,
        batch_size: int = BATCH_SIZE,
        jobs: int | None = None,
    ) -> Readings:
        """Run the networks on the crystals without an error; those that they cannot take get one.

        Args:
            crystals: n, those with an error may be without sites.
            errors: (n,) None where a crystal can be used so far.
            batch_size: crystals that go through a network together.
            jobs: processes that build graphs.
        """
        errors = errors.copy()

        def work(positions: Int64[np.ndarray, " m"]) -> list[Read]:
            some = crystals.take(positions)
            graphs = {options: build_graphs(some, options, jobs=jobs) for options in {run.graph for run in self.runs}}
            return [run.read(graphs[run.graph], batch_size) for run in self.runs]

        kept: list[Int64[np.ndarray, " m"]] = []
        parts = [[run.nothing for run in self.runs]]
        for positions, result in divided(np.flatnonzero([error is None for error in errors]), work):
            if isinstance(result, str):
                errors[positions] = result
            else:
                kept.append(positions)
                parts.append(result)
        reads = [Read.join(of_run) for of_run in zip(*parts, strict=True)]
        return Readings(np.concatenate([np.empty(0, np.int64), *kept]), reads, errors)

    def _foreign(self, crystals: Crystals, positions: Int64[np.ndarray, " m"]) -> list[list[int]]:
        """Give the atomic numbers in each crystal that some run has not seen in training."""
        known = set.intersection(*(set(run.description.elements) for run in self.runs))
        bounds = zip(crystals.offsets[positions], crystals.offsets[positions + 1], strict=True)
        return [sorted(set(crystals.numbers[first:last].tolist()) - known) for first, last in bounds]


def divided(
    positions: Int64[np.ndarray, " m"], work: Callable[[Int64[np.ndarray, " m"]], Any]
) -> Iterator[tuple[Int64[np.ndarray, " k"], Any]]:
    """Work on all positions at once, and where that is refused on their halves, down to the one that is at fault.

    Yields:
        positions in order, with the result, or with the message of the `InputError` of a single one.
    """
    if not len(positions):
        return
    try:
        yield positions, work(positions)
    except InputError as error:
        if len(positions) == 1:
            yield positions, str(error)
        else:
            for half in np.array_split(positions, 2):
                yield from divided(half, work)


def spread_out(values: np.ndarray, positions: Int64[np.ndarray, " m"], n: int) -> np.ndarray:
    """Put rows at their positions among n, NaN elsewhere."""
    full = np.full((n, *values.shape[1:]), np.nan, dtype=values.dtype)
    full[positions] = values
    return full
