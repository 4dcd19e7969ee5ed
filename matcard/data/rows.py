"""Table rows and compositions: from a file, a card or scikit-learn's generator to arrays of numbers."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from matcard.crystals.files import require_file
from matcard.crystals.tables import ID_COLUMNS, INDEX, as_ids, open_table, require_column
from matcard.data.kinds import COMPOSITION_COLUMNS
from matcard.data.row_columns import RowColumns
from matcard.data.tables import ArrayTable
from matcard.errors import InputError, MatcardWarning, listed

if TYPE_CHECKING:
    import pandas as pd
    from jaxtyping import Bool, Shaped

    from matcard.data.card import Card
    from matcard.data.options import DataOptions
    from matcard.data.row_columns import Numbers, RowKind

PART = "part"
"""Column that says which part a row is of, where the makers of the data divided them."""
ENDINGS = (".parquet", ".csv", ".csv.gz", ".jsonl", ".jsonl.gz")
"""How files of rows end."""
_WHERE = "__where__"
_FEWEST_COUNTED = 10
"""In fewer rows a feature may be 1, 2, 3... by chance."""
_HELD_OUT = ("test", "validation")


def read_rows(options: DataOptions, card: Card | None, kind: RowKind) -> ArrayTable:
    """Read rows of numbers, or compositions.

    Args:
        options: source, columns, how compositions are described.
        card: the source's, where it is the name of one.
        kind: `table` or `compositions`.

    Raises:
        InputError: a file that cannot be read, a column that is not there, or no column of numbers.
    """
    if card is not None and card.format == "make_classification":
        return synthetic_rows(card, options)
    frame, parts = _read(options, card)
    target = options.target or (card.target if card else None)
    ids, id_column = _ids(frame, options.id_column or (card.id_column if card else None), options.source)
    aside = {name for name in (id_column, target, PART, _WHERE, options.split.column) if name is not None}
    if card is not None and card.window is not None:
        aside.add(card.window.column)
    columns = _columns(frame, options, card, kind, aside)
    numbers = columns.numbers(frame)
    faults = np.where(numbers.faults == "", _id_faults(ids, frame[_WHERE]), numbers.faults)
    return _sorted_out(frame, ids, numbers._replace(faults=faults), parts, columns, [*columns.used, id_column])


def synthetic_rows(card: Card, options: DataOptions) -> ArrayTable:
    """Make the rows of a card by scikit-learn's make_classification (I. Guyon, 2003).

    Raises:
        InputError: parameters that make_classification refuses.
    """
    import pandas as pd
    from sklearn.datasets import make_classification

    wanted = options.synthetic
    parameters: dict[str, Any] = dict(card.parameters)
    if wanted.samples is not None:
        parameters["n_samples"] = wanted.samples
    if wanted.seed is not None:
        parameters["random_state"] = wanted.seed
    if wanted.majority is not None:
        others = int(parameters["n_classes"]) - 1
        parameters["weights"] = [wanted.majority] + [(1 - wanted.majority) / others] * others
    try:
        inputs, codes = make_classification(**parameters)
    except (TypeError, ValueError) as error:
        raise InputError(f"card {card.name}: make_classification refuses its parameters: {error}") from error
    names = card.class_names or tuple(map(str, range(int(parameters["n_classes"]))))
    features = tuple(f"x{k}" for k in range(inputs.shape[1]))
    target = pd.Categorical.from_codes(codes, categories=pd.Index(names))
    return ArrayTable(
        ids=np.array([str(i) for i in range(len(codes))], dtype=object),
        inputs=inputs,
        columns=pd.DataFrame({card.target: target}),
        left_out=pd.DataFrame({"id": [], "where": [], "reason": [], card.target: []}, dtype=object),
        kind="table",
        features=features,
        made_of=RowColumns("table", features),
    )


def _read(options: DataOptions, card: Card | None) -> tuple[pd.DataFrame, Bool[np.ndarray, " N"] | None]:
    """Give all rows with a column that says where each stands, and which of them came as the test part."""
    import pandas as pd

    if card is not None:
        from matcard.data.sources import load_frame

        frame = load_frame(card)
        frame[_WHERE] = [f"{card.name} row {i}" for i in range(1, len(frame) + 1)]
    else:
        frame = _read_file(Path(options.source))
    if options.test_source is not None:
        test = _read_file(Path(options.test_source))
        missing = set(map(str, frame)) - set(map(str, test)) - {PART}
        if missing:
            raise InputError(
                f"--data.test_source {options.test_source} has no column {min(missing)!r}, which the source has"
            )
        held = np.repeat([False, True], [len(frame), len(test)])
        return pd.concat([frame, test[[name for name in frame if name in test]]], ignore_index=True), held
    if card is not None and PART in frame:
        named = next((name for name in _HELD_OUT if (frame[PART] == name).any()), None)
        return frame, None if named is None else (frame[PART] == named).to_numpy()
    return frame, None


def _read_file(path: Path) -> pd.DataFrame:
    import pandas as pd

    require_file(path)
    table = open_table(path) if path.name.lower().endswith(ENDINGS) else None
    if table is None:
        raise InputError(f"{path}: rows and compositions are read from {', '.join(ENDINGS)}")
    pieces = [piece.frame for piece in table.pieces]
    frame = pd.concat(pieces).infer_objects() if pieces else pd.DataFrame()
    if len(frame) == 0:
        raise InputError(f"{path} has no rows; is it the right file?")
    where = [f"{table.name} {table.unit} {k}" for k in frame.index]
    frame = frame.drop(columns=INDEX, errors="ignore").reset_index(drop=True)
    frame = frame.set_axis([str(name) for name in frame], axis=1)
    return frame.assign(**{_WHERE: where})


def _ids(frame: pd.DataFrame, column: str | None, source: str) -> tuple[Shaped[np.ndarray, " N"], str | None]:
    """Give the ids, by the named column, a usual one, or the number of the row."""
    if column is not None:
        require_column(column, map(str, frame), source, "id_column")
    column = column or next((name for name in ID_COLUMNS if name in frame), None)
    if column is None:
        return np.array([str(i) for i in range(1, len(frame) + 1)], dtype=object), None
    return np.array([name or "" for name in as_ids(frame[column])], dtype=object), column


def _id_faults(ids: Shaped[np.ndarray, " N"], where: pd.Series[Any]) -> Shaped[np.ndarray, " N"]:
    first: dict[str, int] = {}
    faults = np.full(len(ids), "", dtype=object)
    for i, name in enumerate(ids.tolist()):
        if not name:
            faults[i] = "no id; give the row one"
        elif first.setdefault(name, i) != i:
            faults[i] = f"duplicated id {name!r}, first in {where.iloc[first[name]]}; give each row an id of its own"
    return faults


def _columns(
    frame: pd.DataFrame, options: DataOptions, card: Card | None, kind: RowKind, aside: set[str]
) -> RowColumns:
    """Find what describes a row: named columns, a column of formulas, or all that hold numbers."""
    if kind == "compositions" and options.features is None:
        formula = _formula_column(frame, options, card)
        if formula is not None:
            return RowColumns(kind, formula=formula, described=options.composition_features)
    named = options.features or (list(card.feature_columns) if card else None) or None
    return RowColumns(kind, tuple(_feature_columns(frame, named, aside, options.source)))


def _formula_column(frame: pd.DataFrame, options: DataOptions, card: Card | None) -> str | None:
    column = options.composition_column or (card.composition_column if card else None)
    if column is not None:
        require_column(column, map(str, frame), options.source, "composition_column")
        return column
    return next((name for name in COMPOSITION_COLUMNS if name in frame), None)


def _feature_columns(frame: pd.DataFrame, named: list[str] | None, aside: set[str], source: str) -> list[str]:
    if named is not None:
        for name in named:
            require_column(name, map(str, frame), source, "features")
        return named
    found = [name for name in map(str, frame) if name not in aside and _mostly_numbers(frame[name])]
    counting = [name for name in found if _counts_rows(frame[name])]
    if counting:
        # Rows are often sorted by class, which their numbers then give away.
        warnings.warn(
            f"{source}: {listed(map(repr, counting))} counts the rows and is not used to predict; name it with "
            "--data.features if it means something",
            MatcardWarning,
            stacklevel=4,
        )
        found = [name for name in found if name not in counting]
    if not found:
        names = listed(name for name in map(str, frame) if name != _WHERE)
        raise InputError(
            f"{source} has no column of numbers beside id and target among {names}; if it holds crystals, name the "
            "column of structures with --data.structure_column, if formulas, with --data.composition_column"
        )
    return found


def _mostly_numbers(values: pd.Series[Any]) -> bool:
    """Say whether most of a column's cells are numbers; the others are then malformed."""
    import pandas as pd

    present = values.dropna()
    return len(present) > 0 and pd.to_numeric(present, errors="coerce").notna().mean() > 0.5


def _counts_rows(values: pd.Series[Any]) -> bool:
    """Say whether a column is 0, 1, 2... or 1, 2, 3..., begun again at most once, as with a second file of rows."""
    import pandas as pd

    numbers = pd.to_numeric(values, errors="coerce").to_numpy(np.float64)
    if len(numbers) < _FEWEST_COUNTED or numbers[0] not in (0, 1):
        return False
    breaks = np.flatnonzero(np.diff(numbers) != 1) + 1
    return len(breaks) == 0 or (len(breaks) == 1 and bool(numbers[breaks[0]] == numbers[0]))


def _sorted_out(
    frame: pd.DataFrame,
    ids: Shaped[np.ndarray, " N"],
    numbers: Numbers,
    test: Bool[np.ndarray, " N"] | None,
    made_of: RowColumns,
    used: list[str | None],
) -> ArrayTable:
    """Part the rows that can be used from those that cannot."""
    columns = frame.drop(columns=[name for name in used if name in frame] + [_WHERE])
    sound = numbers.faults == ""
    about = {"id": ids[~sound], "where": frame[_WHERE][~sound].to_numpy(), "reason": numbers.faults[~sound]}
    rest = columns[~sound].reset_index(drop=True)
    rest = rest.rename(columns={name: f"source_{name}" for name in about if name in rest})
    for place, (name, values) in enumerate(about.items()):
        rest.insert(place, name, values)
    return ArrayTable(
        ids=ids[sound],
        inputs=numbers.inputs[sound],
        columns=columns[sound].reset_index(drop=True),
        left_out=rest,
        kind=made_of.kind,
        features=numbers.features,
        made_of=made_of,
        test=None if test is None else test[sound],
    )
