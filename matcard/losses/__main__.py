"""`python -m matcard.losses [NAME ...]`: the losses, their formulas, options and references."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from matcard.cli import run_command
from matcard.losses.registry import loss_names

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(argv: Sequence[str]) -> None:
    """Print the table of all losses, or of those named."""
    parser = argparse.ArgumentParser(prog="python -m matcard.losses", description="Show the losses and their options.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one or more of {', '.join(loss_names())}")
    names = parser.parse_args(argv).names or loss_names()

    from rich.console import Console

    from matcard.losses.table import loss_table

    console = Console()
    for part in loss_table(names):
        console.print(part)


if __name__ == "__main__":
    run_command(main)
