"""`python -m matcard.report DIR`: write the report of a finished run, or of a study, again."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from matcard.cli import run_command
from matcard.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(argv: Sequence[str]) -> None:
    """Write `report.html` and the figures of a run, or `report.html` of a study."""
    parser = argparse.ArgumentParser(
        prog="python -m matcard.report", description="Write the report of a finished run, or of a study."
    )
    parser.add_argument("folder", metavar="DIR", type=Path, help="directory of the run or of the study")
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

    if (options.folder / "study.yaml").is_file():
        from matcard.report.study import write_study_report

        if options.baseline or options.map != "pca":
            raise InputError(f"{options.folder} is a study: --baseline and --map are for runs; leave them out")
        print(write_study_report(options.folder))
        return
    from matcard.report.run import write_report

    print(write_report(options.folder, baseline=options.baseline, projection=options.map))


if __name__ == "__main__":
    run_command(main)
