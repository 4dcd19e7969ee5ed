"""One run or several on the same samples: mean, deviation, the decision, and where none of them should be trusted."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from matcard.errors import InputError, MatcardWarning, listed
from matcard.evaluation.decision import mean_decision
from matcard.prediction.run import BATCH_SIZE, Read
from matcard.prediction.table import Predictions, prediction_table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    import pandas as pd
    from jaxtyping import Int64, Shaped

    from matcard.prediction.inputs.base import Rows, Samples
    from matcard.prediction.run import Run


class Readings(NamedTuple):
    """What each run reads out of the samples `positions`, and why the others cannot be used."""

    positions: Int64[np.ndarray, " m"]
    reads: list[Read]
    errors: Shaped[np.ndarray, " n"]


class Ensemble:
    """Runs that share their classes; one alone is an ensemble too. Of crystals each builds its own graphs.

    Args:
        runs: one or more.

    Raises:
        InputError: none, or runs on different classes or different kinds of data.
    """

    def __init__(self, runs: Sequence[Run]) -> None:
        if not runs:
            raise InputError("no run to predict with: name at least one")
        for run in runs[1:]:
            if run.class_names != runs[0].class_names:
                raise InputError(
                    f"{run.path} has the classes {listed(run.class_names)}, {runs[0].path} has "
                    f"{listed(runs[0].class_names)}: runs of an ensemble share their classes and their order"
                )
            if run.inputs.read_as != runs[0].inputs.read_as:
                raise InputError(
                    f"{run.path} was trained on other columns or another kind of data than {runs[0].path}: runs of an "
                    "ensemble are read the same inputs"
                )
        self.runs = list(runs)
        self.inputs = runs[0].inputs
        self.class_names = runs[0].class_names
        self.decision = mean_decision([run.description.decision for run in runs])

    def predict(
        self,
        objects: Iterable[Any],
        *,
        ids: Sequence[str] | None = None,
        batch_size: int = BATCH_SIZE,
        calibrated: bool = False,
    ) -> pd.DataFrame:
        """Predict as `Run.predict` does, with the mean probabilities and their standard deviation over the runs."""
        return self.table(self.inputs.wrap(objects, ids), batch_size=batch_size, calibrated=calibrated)

    def embed(self, objects: Iterable[Any], *, batch_size: int = BATCH_SIZE) -> list[np.ndarray]:
        """Give each run's embeddings as `Run.embed` does."""
        rows = self.inputs.wrap(objects, None)
        readings = self.read(rows.samples, rows.errors, batch_size=batch_size)
        if len(readings.positions) < len(rows.ids):
            first = next(i for i, error in enumerate(readings.errors) if error is not None)
            warnings.warn(
                f"{len(rows.ids) - len(readings.positions)} of {len(rows.ids)} {self.inputs.unit} cannot be used, "
                f"their embedding is NaN; the first is {rows.where[first]}: {readings.errors[first]}",
                MatcardWarning,
                stacklevel=3,
            )
        return [put_in_place(read.embeddings, readings.positions, len(rows.ids)) for read in readings.reads]

    def table(
        self, rows: Rows[Any], *, batch_size: int = BATCH_SIZE, jobs: int | None = None, calibrated: bool = False
    ) -> pd.DataFrame:
        """Predict rows; the columns are those of `matcard.prediction.table.columns`."""
        readings = self.read(rows.samples, rows.errors, batch_size=batch_size, jobs=jobs)
        return self.lay_out(rows, readings, calibrated=calibrated)

    def lay_out(self, rows: Rows[Any], readings: Readings, *, calibrated: bool = False) -> pd.DataFrame:
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
            std=shown.std(axis=0, ddof=1) if len(self.runs) > 1 else None,
            chosen=self.decision.apply(mean) if len(mean) else np.empty(0, np.int64),
            argmax=mean.argmax(axis=1),
            novelty=np.max(
                [run.reference.novelty(read.embeddings) for run, read in zip(self.runs, readings.reads, strict=True)],
                axis=0,
            ),
            foreign=self._foreign(rows.samples.take(readings.positions)),
        )
        return prediction_table(rows.ids, rows.where, readings.errors, predictions, self.class_names)

    def read(
        self,
        samples: Samples,
        errors: Shaped[np.ndarray, " n"],
        *,
        batch_size: int = BATCH_SIZE,
        jobs: int | None = None,
    ) -> Readings:
        """Run the networks on the samples without an error; those that they cannot take get one.

        Args:
            samples: n, whatever stands for those with an error.
            errors: (n,) None where a sample can be used so far.
            batch_size: samples that go through a network together.
            jobs: processes that build graphs.
        """
        errors = errors.copy()

        def work(positions: Int64[np.ndarray, " m"]) -> list[Read]:
            some = samples.take(positions)
            made = {inputs: inputs.dataset(some, jobs) for inputs in {run.inputs for run in self.runs}}
            return [run.read(made[run.inputs], batch_size) for run in self.runs]

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

    def _foreign(self, samples: Samples) -> list[list[str]]:
        """Give the elements or components of each sample that some run has not seen in training."""
        known = set.intersection(*(set(run.description.components) for run in self.runs))
        return [[name for name in names if name not in known] for names in self.inputs.contents(samples)]


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


def put_in_place(values: np.ndarray, positions: Int64[np.ndarray, " m"], n: int) -> np.ndarray:
    """Put rows at their positions among n, NaN elsewhere."""
    full = np.full((n, *values.shape[1:]), np.nan, dtype=values.dtype)
    full[positions] = values
    return full
