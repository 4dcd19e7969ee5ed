"""A new labelled set, read by the classes of a trained run, and how much of it stood in training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from matcard.data.card import card_names
from matcard.data.labels import Labels, target_column
from matcard.errors import InputError, listed
from matcard.files import read_json
from matcard.prediction.inputs.base import NOTHING
from matcard.prediction.modelfile import TRAINING, model_folder

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd
    from jaxtyping import Int64, Shaped

    from matcard.data.tables import Table
    from matcard.prediction.inputs.base import Named, Samples
    from matcard.prediction.modelfile import ModelDescription
    from matcard.prediction.run import Run


@dataclass(frozen=True, eq=False)
class LabelledSet:
    """Samples with a class that the run knows, and what else the source holds.

    Attributes:
        source: where they are from, as the user has named it.
        ids: (N,) object array of str.
        samples: N of them.
        codes: (N,) their classes.
        left_out: `id`, `where`, `reason` and `class` of each row that is not used.
        unlabelled: rows without a label among them.
        malformed: rows that cannot be read among them.
        unknown: number of rows of each class that the run does not know.
    """

    source: str
    ids: Shaped[np.ndarray, " N"]
    samples: Samples
    codes: Int64[np.ndarray, " N"]
    left_out: pd.DataFrame
    unlabelled: int
    malformed: int
    unknown: dict[str, int]


def read_labelled_set(
    run: Run,
    source: str,
    *,
    target: str | None = None,
    named: Named = NOTHING,
    leave_out_unknown: bool = False,
    jobs: int | None = None,
    progress: Callable[[int, int | None], None] | None = None,
) -> LabelledSet:
    """Read a set and give each sample its class, by the run's own threshold or the run's own classes.

    Args:
        run: what was trained.
        source: name of a data set card, or a path as `--data.source` of training takes it.
        target: column of the labels; by default that of the run.
        named: columns of ids, structures and formulas.
        leave_out_unknown: leave rows of classes out that the run does not know, instead of refusing.
        jobs: processes that parse.
        progress: called with the rows parsed and their number, an estimate or None.

    Raises:
        InputError: a source or column that is not there, classes that the run does not know, or no row to use.
    """
    import pandas as pd

    column = target or run.description.target["column"] or run.inputs.target
    run.inputs.check_named(named)
    if column is None:
        raise InputError(f"--data.target is not given, and {run.path} does not name one: name the column of the labels")
    if source not in card_names() and not Path(source).expanduser().exists():
        raise InputError(f"--data.source {source}: neither a file or folder nor the name of a data set")
    table = run.inputs.read_table(source, column, named, jobs, progress)
    values = target_column(table.columns, column, source)
    codes = _encode(run.description, column, values)
    missing = (values.isna() | values.astype(str).str.strip().eq("")).to_numpy()
    texts = values.astype(str)
    unknown = texts[(codes < 0) & ~missing].value_counts().to_dict()
    if unknown and not leave_out_unknown:
        found = listed(f"{name} ({count})" for name, count in unknown.items())
        raise InputError(
            f"{source} has classes that {run.path} does not know: {found}; it knows {listed(run.class_names)}. "
            "Rename them in the source, or leave these rows out by --leave-out-unknown"
        )
    known = codes >= 0
    if not known.any():
        raise InputError(f"{source} has no sample with a class of {run.path}: {listed(run.class_names)}")
    reasons = np.where(missing, f"{column} is missing", "class not known to the run")
    unused = pd.DataFrame(
        {"id": table.ids, "where": source, "reason": reasons, "class": texts.where(~missing, "")}, dtype=object
    )[~known]
    malformed = table.left_out[["id", "where", "reason"]].assign(**{"class": _lost(table, column)})
    return LabelledSet(
        source,
        table.ids[known],
        run.inputs.samples(table.take(np.flatnonzero(known))),
        codes[known],
        pd.concat([malformed, unused], ignore_index=True),
        int(missing.sum()),
        len(malformed),
        {str(name): int(count) for name, count in unknown.items()},
    )


def training_overlap(run: Run, samples: Samples) -> dict[str, int] | None:
    """Count the samples that stood in the training part by each of their marks; None where that is not known.

    Returns:
        {mark: count}, such as `ids` and `formulas` of crystals, and `total`, the number of samples.
    """
    folder = model_folder(run.path)
    if folder is None or not (folder / TRAINING).is_file():
        return None
    trained = read_json(folder / TRAINING)
    counts = {}
    for name, texts in run.inputs.marks(samples).items():
        known = set(trained[name])
        counts[name] = sum(text in known for text in texts)
    return {**counts, "total": len(samples)}


def _encode(description: ModelDescription, column: str, values: pd.Series[Any]) -> Int64[np.ndarray, " N"]:
    made = description.target
    edges = made["bins"] or ([] if made["threshold"] is None else [made["threshold"]])
    window = {"window": tuple(made["window"])} if made["window"] else {}
    return Labels(np.empty(0, np.int64), description.class_names, column, tuple(edges), **window).encode(values)


def _lost(table: Table, column: str) -> Any:
    """Give the labels of malformed rows, as they were read."""
    name = f"source_{column}" if column in ("id", "where", "reason") else column
    return table.left_out[name].fillna("").astype(str) if name in table.left_out else ""
