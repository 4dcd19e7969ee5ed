"""`python -m matcard.losses [NAME ...]`: the losses, their formulas, options and references."""

from __future__ import annotations

import argparse
import dataclasses
from typing import TYPE_CHECKING

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from matcard.cli import run_command
from matcard.losses import Loss
from matcard.options import goes_by
from matcard.training.config import field_docs

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(argv: Sequence[str]) -> None:
    """Print the table of all losses, or of those named."""
    parser = argparse.ArgumentParser(prog="python -m matcard.losses", description="Show the losses and their options.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one or more of {', '.join(Loss.names())}")
    losses = [Loss.find(name) for name in parser.parse_args(argv).names or Loss.names()]
    console = Console()
    for loss in losses:
        texts = field_docs(loss.options_class)
        about = Table.grid(padding=(0, 2))
        about.add_row("formula", Text(loss.formula))
        about.add_row("reference", Text(loss.reference))
        options = Table("option", "default", "meaning", box=None, padding=(0, 2, 0, 0))
        for field in dataclasses.fields(loss.options_class)[1:]:
            default = field.default_factory().name if callable(field.default_factory) else field.default
            options.add_row(field.name, str(default), Text(" ".join(texts[field.name].split())))
        console.print(Text(", ".join(goes_by(loss.options_class)), "bold"))
        console.print(Padding(about, (0, 2)))
        console.print(Padding(options, (0, 2, 1, 2)))


if __name__ == "__main__":
    run_command(main)
