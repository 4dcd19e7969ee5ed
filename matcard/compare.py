"""`python -m matcard.compare`: a fair table of losses over data sets and seeds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matcard.cli import run_command
from matcard.comparison.options import CompareOptions
from matcard.training.config import parse_alone

if TYPE_CHECKING:
    from collections.abc import Sequence

DESCRIPTION = """Compare losses, and rivals that are no networks, on data sets under one protocol: as many trials for
the options of each, chosen on the validation part; then the seeds, each tested once. What is finished is kept; the
same command goes on with the rest."""


def main(argv: Sequence[str]) -> None:
    """Run a comparison, or go on with one."""
    options = parse_options(argv)
    from matcard.comparison.run import compare

    compare(options)


def parse_options(argv: Sequence[str]) -> CompareOptions:
    """Parse the command line."""
    return parse_alone(argv, CompareOptions(), prog="python -m matcard.compare", description=DESCRIPTION)


if __name__ == "__main__":
    run_command(main)
