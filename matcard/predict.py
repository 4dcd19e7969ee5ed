"""`python -m matcard.predict`: the classes of new samples by one trained run, or by several together."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from matcard.cli import add_reading, data_options, make_console, run_command
from matcard.errors import InputError, listed
from matcard.progress import crystal_progress

if TYPE_CHECKING:
    from collections.abc import Sequence

DESCRIPTION = """Predict classes. Directories of runs (or their model folders) come first; several form an ensemble.
Inputs are of the kind that the runs were trained on. Crystals: structure files (CIF, POSCAR), quoted patterns such as
'new/*.cif', folders, tables (parquet, csv, jsonl, json.gz), what ASE reads (extxyz, db), or - for CIF text, JSON lines
or file names on standard input. Compositions and table rows: tables (parquet, csv, jsonl) with the columns of training.
Images: npz, or the files of MNIST or CIFAR. No labels are needed. The output has a row for each input, in order; the
column error says why one has no prediction."""


def main(argv: Sequence[str]) -> None:
    """Predict and write a table."""
    options = build_parser().parse_intermixed_args(argv)  # options may stand between runs and inputs
    runs, inputs = split_paths(options.paths)
    from matcard.prediction.predictor import load_run
    from matcard.prediction.stream import predict_sources

    predictor = load_run(*runs, device=options.device)
    console = make_console()
    with crystal_progress(console, "predicting", predictor.kind.unit) as progress:
        tally = predict_sources(
            predictor,
            inputs,
            Path(options.output),
            batch_size=options.batch_size,
            options=data_options(options),
            calibrated=options.calibrated,
            progress=progress,
        )
    rate = tally.rows / tally.seconds if tally.seconds else 0.0
    total = f"{tally.rows} input{'' if tally.rows == 1 else 's'}"
    console.print(
        f"{total} in {tally.seconds:.1f} s, {rate:,.{0 if rate >= 10 else 2}f} {predictor.kind.unit}/s", markup=False
    )
    counts = listed(f"{name}: {count}" for name, count in tally.classes.items())
    console.print(f"predicted ({predictor.decision.rule}): {counts}", markup=False)
    if tally.novel:
        are = "is" if tally.novel == 1 else "are"
        console.print(f"{tally.novel} {are} unlike the training part: see the columns applicable and reason")
    if tally.errors:
        console.print(f"{tally.errors} could not be used: see the column error")
    for message in tally.failures:
        console.print(f"not read to its end: {message}", markup=False)
    console.print(f"written: {options.output}", soft_wrap=True, markup=False)
    if tally.errors == tally.rows:
        raise InputError(f"none of the inputs could be predicted ({tally.rows}); the first: {tally.first_error}")


def build_parser() -> argparse.ArgumentParser:
    """Make the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m matcard.predict",
        usage="python -m matcard.predict RUN_DIR [RUN_DIR ...] INPUT [INPUT ...] -o OUTPUT [options]",
        description=DESCRIPTION,
        allow_abbrev=False,
    )
    parser.add_argument("paths", nargs="+", metavar="RUN_DIR/INPUT", help="one run or more, then the inputs")
    parser.add_argument("-o", "--output", required=True, help="file to write: .parquet, .csv or .jsonl")
    parser.add_argument(
        "--calibrated",
        action="store_true",
        help="show probabilities at the temperature fitted on validation; classes stay the same",
    )
    add_reading(parser, parser)
    return parser


def split_paths(paths: Sequence[str]) -> tuple[list[Path], list[str]]:
    """Tell the directories of runs, which have a config.yaml or a model.json, from the inputs.

    Raises:
        InputError: none of the one or of the other.
    """
    marks = ("config.yaml", "model.json")
    runs = [path for path in paths if any((Path(path) / name).is_file() for name in marks)]
    inputs = [path for path in paths if path not in runs]
    if not runs:
        raise InputError(f"{paths[0]} is not the directory of a run (it has no config.yaml): name one first")
    if not inputs:
        raise InputError("no inputs: name files, folders or tables after the run, or - for standard input")
    return [Path(run) for run in runs], inputs


if __name__ == "__main__":
    run_command(main)
