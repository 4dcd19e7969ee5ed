"""`python -m matcard.report RUN_DIR`: write the report of a finished run again."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from matcard.cli import run_command

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(argv: Sequence[str]) -> None:
    """Write `report.html` and the figures of a run."""
    parser = argparse.ArgumentParser(prog="python -m matcard.report", description="Write the report of a finished run.")
    parser.add_argument("run_dir", metavar="RUN_DIR", type=Path, help="directory of the run")
    parser.add_argument(
        "--baseline",
        metavar="RUN_DIR",
        type=Path,
        help="a run of the same data, with cross-entropy, to stand beside it",
    )
    parser.add_argument(
        "--map", choices=("pca", "umap"), default="pca", help="projection of the embeddings (umap needs umap-learn)"
    )
    options = parser.parse_args(argv)

    from matcard.report.run_report import write_report

    print(write_report(options.run_dir, baseline=options.baseline, projection=options.map))


if __name__ == "__main__":
    run_command(main)
