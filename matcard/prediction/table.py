"""What prediction gives: one row for each input, in order."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from jaxtyping import Float64, Int64, Shaped


class Predictions(NamedTuple):
    """Of the m inputs at `positions`: probabilities, their deviation over runs, classes, how new or odd, numbers."""

    positions: Int64[np.ndarray, " m"]
    mean: Float64[np.ndarray, "m C"]
    std: Float64[np.ndarray, "m C"] | None
    chosen: Int64[np.ndarray, " m"]
    argmax: Int64[np.ndarray, " m"]
    novelty: Float64[np.ndarray, " m"]
    foreign: Sequence[Sequence[str]]
    odd: Sequence[str | None]
    numbers: Float64[np.ndarray, "m V"]


def columns(class_names: Sequence[str], values: Sequence[str] = (), *, ensemble: bool = False) -> dict[str, str]:
    """Give the columns of predictions with their types, in order.

    * `id`, `source`: name of the input; its file and row;
    * `predicted`: class by the decision rule chosen on validation; `predicted_argmax`: the most likely class;
    * `prob_<class>`: probabilities, of several runs their mean; `std_<class>`: standard deviation over the runs;
    * `value_<column>`: numbers that are predicted, of several runs their mean;
    * `applicable`: false where the input is unlike the training part, for the `reason` beside it: atoms without
      any neighbour, elements or components that were not in it, or `novelty` (distance to the nearest training
      embedding, over the 99th percentile of that of the validation part) above 1;
    * `error`: why an input has no prediction.
    """
    std = {f"std_{name}": "float64" for name in class_names} if ensemble else {}
    return {
        "id": "string",
        "source": "string",
        "predicted": "string",
        "predicted_argmax": "string",
        **{f"prob_{name}": "float64" for name in class_names},
        **std,
        **{f"value_{name}": "float64" for name in values},
        "applicable": "boolean",
        "novelty": "float64",
        "reason": "string",
        "error": "string",
    }


def prediction_table(
    ids: Shaped[np.ndarray, " n"],
    where: Shaped[np.ndarray, " n"],
    errors: Shaped[np.ndarray, " n"],
    predictions: Predictions,
    class_names: Sequence[str],
    values: Sequence[str] = (),
) -> pd.DataFrame:
    """Lay predictions out, a row for each of the n inputs; see `columns`."""
    import pandas as pd

    found = predictions.positions
    names = np.array(class_names, dtype=object)
    told = zip(predictions.foreign, predictions.novelty, predictions.odd, strict=True)
    reasons = [_reason(*each) for each in told]
    filled: dict[str, Sequence[object] | Shaped[np.ndarray, " m"]] = {
        "predicted": names[predictions.chosen],
        "predicted_argmax": names[predictions.argmax],
        **{f"prob_{name}": predictions.mean[:, c] for c, name in enumerate(class_names)},
        **{f"value_{name}": predictions.numbers[:, k] for k, name in enumerate(values)},
        "applicable": [reason is None for reason in reasons],
        "novelty": predictions.novelty,
        "reason": reasons,
    }
    if predictions.std is not None:
        filled |= {f"std_{name}": predictions.std[:, c] for c, name in enumerate(class_names)}
    table = pd.DataFrame({"id": ids, "source": where, "error": errors}, index=range(len(ids)))
    table = table.join(pd.DataFrame(filled, index=found))
    types = columns(class_names, values, ensemble=predictions.std is not None)
    return table[list(types)].astype(types)


def _reason(foreign: Sequence[str], novelty: float, odd: str | None) -> str | None:
    """Say why a sample is unlike the training part; None where it is like it."""
    said = [odd] if odd else []
    if foreign:
        said.append(f"not in training: {', '.join(foreign)}")
    if novelty > 1:
        said.append(f"{novelty:.1f} times as far from the training part as 99 % of the validation part")
    return "; ".join(said) or None
