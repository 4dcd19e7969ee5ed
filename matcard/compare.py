"""`python -m matcard.compare`: a fair table of losses over data sets and seeds."""

from __future__ import annotations

import argparse
import dataclasses
from typing import TYPE_CHECKING

from matcard.cli import run_command
from matcard.comparison.options import CompareOptions
from matcard.training.parser import field_docs

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
    parser = argparse.ArgumentParser(prog="python -m matcard.compare", description=DESCRIPTION, allow_abbrev=False)
    texts, defaults = field_docs(CompareOptions), CompareOptions()
    for field in dataclasses.fields(CompareOptions):
        flag, text, default = f"--{field.name}", texts[field.name].replace("%", "%%"), getattr(defaults, field.name)
        if field.type == "bool":
            parser.add_argument(flag, action="store_true", help=text)
            continue
        kind = _listed if "list" in str(field.type) else int if "int" in str(field.type) else str
        parser.add_argument(flag, type=kind, default=default, help=text, metavar=field.name.upper())
    return CompareOptions(**vars(parser.parse_args(list(argv))))


def _listed(text: str) -> list[str]:
    return [name.strip() for name in text.split(",")]


if __name__ == "__main__":
    run_command(main)
