"""The table of losses: formula, options with their defaults, reference. Loads no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args, get_type_hints

from docstring_parser import parse_from_object
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from matcard.losses.formulas import COMBINATIONS, SYMBOLS
from matcard.losses.options import CardinalityOptions, LossOptions
from matcard.losses.registry import loss_options

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rich.console import RenderableType


def loss_table(names: Iterable[str]) -> Iterator[RenderableType]:
    """Give what rich prints for these losses; those that share their options appear once.

    Raises:
        InputError: no such loss.
    """
    for options in dict.fromkeys(loss_options(name) for name in names):
        yield Text.assemble((", ".join(get_args(get_type_hints(options)["name"])), "bold"))
        yield Padding(_formula(options), (0, 2))
        yield Padding(_options(options), (0, 2, 1, 2))


def _formula(options: type[LossOptions]) -> Table:
    grid = Table.grid(padding=(0, 2))
    if options is CardinalityOptions:
        for space, combinations in COMBINATIONS.items():
            for combine, formula in combinations.items():
                grid.add_row(f"{space}, {combine}", Text(formula))
        grid.add_row("symbols", Text(SYMBOLS))
    else:
        grid.add_row("formula", Text(options.formula))
    grid.add_row("reference", Text(options.reference))
    return grid


def _options(options: type[LossOptions]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in ("option", "default", "meaning"):
        table.add_column(column)
    for field in parse_from_object(options).params:
        meaning = " ".join((field.description or "").split())
        table.add_row(field.arg_name, str(field.default), Text(meaning))
    return table
