"""`python -m matcard.evaluate`: a trained run on a new labelled set, its test figures, or another decision rule."""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from matcard.cli import add_reading, data_options, make_console, run_command
from matcard.errors import InputError, listed
from matcard.evaluation.decision import DecisionOptions, Objective, Rule
from matcard.files import first_free
from matcard.progress import crystal_progress

if TYPE_CHECKING:
    from collections.abc import Sequence

DESCRIPTION = """Measure a trained run on a new labelled set: its classes by the run's own threshold, its scores at the
most likely class and at the decision rule that was chosen on validation, with intervals. Without --data.source the
figures of the run's own test part are shown again; with --decision.rule, another rule is chosen on the validation
scores that the run has kept."""

_OF_A_SET = {
    "source_target": "--data.target",
    "id_column": "--data.id_column",
    "structure_column": "--data.structure_column",
    "composition_column": "--data.composition_column",
    "prior": "--prior",
    "output": "--output",
}
"""Options that need a labelled set."""
METRICS = "metrics.json"


def main(argv: Sequence[str]) -> None:
    """Measure, print and write."""
    options = build_parser().parse_args(argv)
    console = make_console()
    asked = decision_options(options)
    if options.save and asked is None:
        raise InputError("--save keeps another decision rule: name one by --decision.rule")
    from matcard.training.finished import decide, show_test

    if options.source is None:
        for name, flag in _OF_A_SET.items():
            if getattr(options, name) is not None:
                raise InputError(f"{flag} goes with a labelled set: name one by --data.source")
        if asked is None:
            show_test(console, Path(options.run))
        else:
            decide(console, Path(options.run), asked, save=options.save)
        return
    folder = Path(options.output) if options.output else folder_of(Path(options.run), options.source)
    if (folder / METRICS).exists():
        raise InputError(f"--output {folder} holds an evaluation already: name another folder")
    from matcard.prediction.assess import assess, read_set
    from matcard.prediction.predictor import load_run
    from matcard.prediction.stream import check_output

    run = load_run(options.run, device=options.device)
    prior = parse_prior(options.prior, run.class_names)
    if asked is not None:
        run.decision = decide(console, Path(options.run), asked, save=options.save)
    check_output(folder / "predictions.parquet")
    with crystal_progress(console, "reading", run.kind.unit) as progress:
        asked_for = data_options(options, source=options.source, target=options.source_target)
        samples = read_set(run, asked_for, leave_out_unknown=options.leave_out_unknown, progress=progress)
    found = assess(run, samples, prior=prior, batch_size=options.batch_size, jobs=options.jobs)
    found.write(folder, options.source)
    found.show(console, run, folder)


def build_parser() -> argparse.ArgumentParser:
    """Make the parser of the command line."""
    parser = argparse.ArgumentParser(prog="python -m matcard.evaluate", description=DESCRIPTION, allow_abbrev=False)
    parser.add_argument("run", metavar="RUN_DIR", help="directory of a finished run, or its model folder")
    data = parser.add_argument_group("the new set")
    data.add_argument("--data.source", dest="source", metavar="SOURCE", help="card or path, as in training")
    data.add_argument(
        "--data.target", dest="source_target", metavar="NAME", help="column of the labels; the run's by default"
    )
    rule = parser.add_argument_group("another decision rule", "see matcard.train --help; chosen on validation scores")
    rule.add_argument("--decision.rule", dest="rule", choices=get_args(Rule))
    rule.add_argument("--decision.objective", dest="objective", choices=get_args(Objective))
    rule.add_argument("--decision.positive", dest="positive", metavar="CLASS")
    rule.add_argument("--decision.target", dest="target", type=float, metavar="NUMBER")
    rule.add_argument("--decision.costs", dest="costs", metavar="FILE")
    rule.add_argument("--decision.shares", dest="shares", metavar="SHARES")
    rule.add_argument("--save", action="store_true", help="make it the rule of the run, for prediction and report")
    parser.add_argument("--leave-out-unknown", action="store_true", help="leave out classes that the run does not know")
    parser.add_argument(
        "--prior",
        metavar="SHARES",
        help="class shares to correct the probabilities for: `estimate` takes them from the predictions alone, "
        "`labels` counts the labels of the new set, or numbers such as 0.9,0.1 in the order of the classes",
    )
    parser.add_argument("-o", "--output", metavar="DIR", help="where to write; RUN_DIR/evaluations/NAME by default")
    add_reading(parser, data)
    return parser


def parse_prior(text: str | None, class_names: Sequence[str]) -> str | list[float] | None:
    """Read `--prior` before any data are read.

    Raises:
        InputError: neither a known word nor numbers that can be shares, or not one for each class.
    """
    if text is None or text in ("estimate", "labels"):
        return text
    shares = _numbers(text)
    if len(shares) < 2 or not all(0 <= share < float("inf") for share in shares) or sum(shares) == 0:
        raise InputError(f"--prior {text}: expected estimate, labels, or a share for each class such as 0.9,0.1")
    if len(shares) != len(class_names):
        raise InputError(
            f"--prior has {len(shares)} numbers for {len(class_names)} classes: give one for each of "
            f"{listed(class_names)}"
        )
    return shares


def decision_options(options: argparse.Namespace) -> DecisionOptions | None:
    """Give the rule that is asked for; None where there is none.

    Raises:
        InputError: options of a rule without the rule, or such as do not go with it.
    """
    values = {field.name: getattr(options, field.name) for field in fields(DecisionOptions)}
    given = {name: value for name, value in values.items() if value is not None}
    if given and options.rule is None:
        raise InputError(f"--decision.{next(iter(given))} goes with a rule: name it by --decision.rule")
    if options.shares is not None:
        given["shares"] = _numbers(options.shares)
        if not given["shares"]:
            raise InputError(f"--decision.shares {options.shares}: expected numbers such as 0.9,0.1")
    return DecisionOptions(**given) if given else None


def _numbers(text: str) -> list[float]:
    """Read numbers between commas; none where one of them is no number."""
    try:
        return [float(number) for number in text.split(",")]
    except ValueError:
        return []


def folder_of(run: Path, source: str) -> Path:
    """Give the folder of an evaluation where none is named: the source's name, a file's without its ending.

    Where there is an evaluation of that name, it is numbered.
    """
    path = Path(source).expanduser()
    name = path.resolve().name
    return first_free(run / "evaluations" / (name if path.is_dir() else Path(name.removesuffix(".gz")).stem))


if __name__ == "__main__":
    run_command(main)
