"""The decision rule that a run asks for, made for its classes and chosen on its validation part."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from matcard.errors import InputError, nearest_names
from matcard.evaluation.selection import best_f1, best_score, target_precision, target_recall
from matcard.evaluation.thresholds import Decision, argmax, by_cost, prior_adjusted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jaxtyping import Float, Float64, Int

    from matcard.evaluation.options import DecisionOptions


def choose_decision(
    options: DecisionOptions,
    targets: Int[np.ndarray, " n"],
    probabilities: Float[np.ndarray, "n C"],
    class_names: Sequence[str],
    train_counts: Int[np.ndarray, " C"],
) -> Decision:
    """Make the rule of `options`; what it leaves open is chosen on these samples, of the validation part.

    Args:
        options: which rule, and its aim.
        targets: class indices of the validation part.
        probabilities: one row a sample.
        class_names: C names.
        train_counts: class counts of the training part.

    Raises:
        InputError: an aim that is out of reach on these samples, or as `check_decision`.
    """
    check_decision(options, class_names, train_counts)
    validation = (targets, probabilities, class_names)
    match options.rule:
        case "argmax":
            return argmax(class_names)
        case "best_score":
            return best_score(*validation, options.objective)
        case "best_f1":
            return best_f1(*validation, positive_class(options, class_names, train_counts))
        case "target_recall" | "target_precision":
            aim = target_recall if options.rule == "target_recall" else target_precision
            return aim(*validation, positive_class(options, class_names, train_counts), options.target or 1.0)
        case "cost":
            return by_cost(class_names, read_costs(Path(options.costs or ""), class_names))
        case "prior":
            shares = None if options.shares is None else np.array(options.shares)
            return prior_adjusted(class_names, train_counts, shares)


def check_decision(options: DecisionOptions, class_names: Sequence[str], train_counts: Int[np.ndarray, " C"]) -> None:
    """Tell before any training what the classes of the data make impossible.

    Raises:
        InputError: no such class, a table of costs or shares that does not fit the classes.
    """
    if options.positive is not None and options.positive not in class_names:
        raise InputError(f"--decision.positive {options.positive!r}: {nearest_names(options.positive, class_names)}")
    if options.costs is not None:
        read_costs(Path(options.costs), class_names)
    if options.shares is not None and len(options.shares) != len(class_names):
        raise InputError(
            f"--decision.shares has {len(options.shares)} numbers for {len(class_names)} classes: give one for each of "
            f"{', '.join(class_names)}"
        )
    if options.rule == "prior":
        prior_adjusted(class_names, train_counts)


def positive_class(options: DecisionOptions, class_names: Sequence[str], train_counts: Int[np.ndarray, " C"]) -> str:
    """Give the class that a rule of one class is about: the one named, else the rarest of the training part."""
    return options.positive if options.positive is not None else class_names[int(np.argmin(train_counts))]


def read_costs(path: Path, class_names: Sequence[str]) -> Float64[np.ndarray, "C C"]:
    """Read a table of costs: header of predicted classes, a line for each true class with its name first.

    Returns:
        row = true class, column = predicted class, in the order of `class_names`.

    Raises:
        InputError: no such file, classes that are missing or foreign, or cells that are not numbers.
    """
    import pandas as pd

    try:
        table = pd.read_csv(path, index_col=0, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise InputError(f"--decision.costs {path}: cannot be read as CSV ({error})") from error
    columns, rows = ([str(name).strip() for name in names] for names in (table.columns, table.index))
    for names, what in ((columns, "header"), (rows, "first column")):
        if sorted(names) != sorted(class_names):
            raise InputError(
                f"--decision.costs {path}: the {what} names {', '.join(names) or 'nothing'}; expected each of the "
                f"classes {', '.join(class_names)} once"
            )
    numbers = pd.DataFrame(table.to_numpy(), rows, columns).apply(pd.to_numeric, errors="coerce")
    costs: Float64[np.ndarray, "C C"] = numbers.loc[list(class_names), list(class_names)].to_numpy(np.float64)
    if not np.isfinite(costs).all():
        i, j = np.argwhere(~np.isfinite(costs))[0]
        raise InputError(
            f"--decision.costs {path}: the cost of calling {class_names[i]!r} {class_names[j]!r} is no finite number"
        )
    return costs
