"""A new labelled set, read by the classes of a trained run, and how much of it stood in training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from matcard.data.groups import reduced_formulas
from matcard.data.labels import Labels, target_column
from matcard.errors import InputError
from matcard.evaluation.jsonfile import read_json
from matcard.prediction.modelfile import TRAINING, model_folder

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd
    from jaxtyping import Int64

    from matcard.crystals.table import Crystals, CrystalTable
    from matcard.prediction.modelfile import ModelDescription
    from matcard.prediction.run import Run


@dataclass(frozen=True, eq=False)
class LabelledSet:
    """Crystals with a class that the run knows, and what else the source holds.

    Attributes:
        crystals: N of them.
        codes: (N,) their classes.
        left_out: `id`, `where`, `reason` and `class` of each row that is not used.
        unlabelled: rows without a label among them.
        malformed: rows without a usable structure among them.
        unknown: number of rows of each class that the run does not know.
    """

    crystals: Crystals
    codes: Int64[np.ndarray, " N"]
    left_out: pd.DataFrame
    unlabelled: int
    malformed: int
    unknown: dict[str, int]


class Overlap(NamedTuple):
    """How many crystals of a set stood in the training part, by id and by reduced formula."""

    ids: int
    formulas: int
    total: int


def read_labelled_set(
    run: Run,
    source: str,
    *,
    target: str | None = None,
    id_column: str | None = None,
    structure_column: str | None = None,
    leave_out_unknown: bool = False,
    jobs: int | None = None,
    progress: Callable[[int, int | None], None] | None = None,
) -> LabelledSet:
    """Read a set and give each crystal its class, by the run's own threshold or the run's own classes.

    Args:
        run: what was trained.
        source: name of a data set card, or a path as `--data.source` of training takes it.
        target: column of the labels; by default that of the run.
        id_column: column of ids.
        structure_column: column of structures.
        leave_out_unknown: leave rows of classes out that the run does not know, instead of refusing.
        jobs: processes that parse.
        progress: called with the rows parsed and their number, an estimate or None.

    Raises:
        InputError: a source or column that is not there, classes that the run does not know, or no row to use.
    """
    import pandas as pd

    column = target or run.description.target["column"]
    if column is None:
        raise InputError(f"--data.target is not given, and {run.path} does not name one: name the column of the labels")
    table = _read(source, column, id_column, structure_column, jobs, progress)
    values = target_column(table.columns, column, source)
    codes = _encode(run.description, column, values)
    missing = (values.isna() | values.astype(str).str.strip().eq("")).to_numpy()
    texts = values.astype(str)
    unknown = texts[(codes < 0) & ~missing].value_counts().to_dict()
    if unknown and not leave_out_unknown:
        listed = ", ".join(f"{name} ({count})" for name, count in unknown.items())
        raise InputError(
            f"{source} has classes that {run.path} does not know: {listed}; it knows {', '.join(run.class_names)}. "
            "Rename them in the source, or leave these rows out by --leave-out-unknown"
        )
    known = codes >= 0
    if not known.any():
        raise InputError(f"{source} has no crystal with a class of {run.path}: {', '.join(run.class_names)}")
    reasons = np.where(missing, f"{column} is missing", "class not known to the run")
    unused = pd.DataFrame(
        {"id": table.crystals.ids, "where": source, "reason": reasons, "class": texts.where(~missing, "")}, dtype=object
    )[~known]
    malformed = table.left_out[["id", "where", "reason"]].assign(**{"class": _lost(table, column)})
    return LabelledSet(
        table.crystals.take(np.flatnonzero(known)),
        codes[known],
        pd.concat([malformed, unused], ignore_index=True),
        int(missing.sum()),
        len(malformed),
        {str(name): int(count) for name, count in unknown.items()},
    )


def training_overlap(run: Run, crystals: Crystals) -> Overlap | None:
    """Count the crystals whose id or reduced formula stood in the training part; None where that is not known."""
    folder = model_folder(run.path)
    if folder is None or not (folder / TRAINING).is_file():
        return None
    trained = read_json(folder / TRAINING)
    ids, formulas = set(trained["ids"]), set(trained["formulas"])
    return Overlap(
        sum(name in ids for name in crystals.ids.tolist()),
        sum(name in formulas for name in reduced_formulas(crystals).tolist()),
        len(crystals),
    )


def _read(
    source: str,
    column: str,
    id_column: str | None,
    structure_column: str | None,
    jobs: int | None,
    progress: Callable[[int, int | None], None] | None,
) -> CrystalTable:
    from matcard.crystals import read_crystals
    from matcard.data.cards import card_names, load_card, load_table

    if source in card_names():
        return load_table(load_card(source))
    if not Path(source).exists():
        raise InputError(f"--data.source {source}: neither a file or folder nor the name of a data set")
    return read_crystals(
        source, id_column=id_column, structure_column=structure_column, target=column, jobs=jobs, progress=progress
    )


def _encode(description: ModelDescription, column: str, values: pd.Series[Any]) -> Int64[np.ndarray, " N"]:
    made = description.target
    edges = made["bins"] or ([] if made["threshold"] is None else [made["threshold"]])
    window = {"window": tuple(made["window"])} if made.get("window") else {}
    return Labels(np.empty(0, np.int64), description.class_names, column, tuple(edges), **window).encode(values)


def _lost(table: CrystalTable, column: str) -> Any:
    """Give the labels of malformed rows, as they were read."""
    name = f"source_{column}" if column in ("id", "where", "reason") else column
    return table.left_out[name].fillna("").astype(str) if name in table.left_out else ""
