"""What the texts say can be done: their Python runs, their commands parse, their options, modules and links exist."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import itertools
import re
import shlex
import subprocess
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pandas as pd
import pytest
from scipy import stats

from matcard.comparison.results import METRICS
from matcard.descriptors.describe import BUILT_IN, GROUP
from matcard.losses import Loss, SampleLoss
from matcard.models import Classifier
from matcard.study.settings import StudyOptions
from matcard.training.config import option_kinds, option_types
from matcard.training.options import Config

ROOT = Path(__file__).resolve().parent.parent
TUTORIAL = "docs/tutorial.md"
TEXTS = [
    *("README.md", "CONTRIBUTING.md", "benchmarks/README.md", "benchmarks/speed.md"),
    *sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md")),
]
WORK = (
    "matcard.training.run.train",
    "matcard.training.run.resume",
    "matcard.study.tuning.run_study",
    "matcard.comparison.run.compare",
)
"""What commands whose options are those of a training call once they are parsed."""
YAML_OPTIONS = {"--config", "--space", "--trial_config", "--experiment"}
OTHER_TOOLS = re.compile(r"\b(pip|ruff|git|pytest|sbatch|srun|dask|ssh|torchrun|jupytext|qsub) |#SBATCH ")
FLAG = re.compile(r"(?<![\w-])--[a-z]{2}[\w.-]*")


class Parsed(Exception):  # noqa: N818
    """A command has understood its line."""


@pytest.fixture
def parse(monkeypatch, tmp_path):
    """Give a function that has a command parse its words, and stops it before it does anything."""

    def stopped_after(understand):
        def parsed(self, args=None, namespace=None):
            understand(self, args, namespace)
            raise Parsed

        return parsed

    def work(*_args, **_options):
        raise Parsed

    for method in ("parse_args", "parse_intermixed_args"):
        parser = argparse.ArgumentParser
        monkeypatch.setattr(parser, method, stopped_after(getattr(parser, method)))
    for name in WORK:
        module, function = name.rsplit(".", 1)
        monkeypatch.setattr(import_module(module), function, work)
    monkeypatch.setattr("matcard.training.rundir.RunDir.unfinished", work)  # there is no such run here
    monkeypatch.chdir(tmp_path)

    def parse(command):
        module, *argv = command
        for option, value in itertools.pairwise(argv):
            if option in YAML_OPTIONS and value.endswith(".yaml") and not shipped(value):
                Path(value).parent.mkdir(parents=True, exist_ok=True)
                Path(value).write_text("{}")
        with contextlib.suppress(Parsed):
            entry(module).main(argv)
            pytest.fail(f"{module} did not parse its line")

    return parse


def shipped(name):
    return any((ROOT / "configs" / part / name).is_file() for part in (".", "tune", "tune/trial", "compare"))


def entry(module):
    """Give the module that `python -m` runs."""
    folder = ROOT / module.replace(".", "/")
    return import_module(f"{module}.__main__" if folder.is_dir() else module)


def text_of(name):
    """Give a page, with the pages that it includes."""
    text = (ROOT / name).read_text()
    return re.sub(r'--8<-- "(.*)"', lambda match: (ROOT / match[1]).read_text(), text)


def commands(name):
    """Give the words of every line of code that is a command of matcard, `python -m` left out.

    What stands beside a command, three spaces away or behind a #, is not of it.
    """
    text = text_of(name)
    fenced = "\n".join(re.findall(r"^```\w*\n(.*?)^```", text, re.DOTALL | re.MULTILINE))
    indented = "\n".join(re.findall(r"^ {4}.*", text, re.MULTILINE))
    joined = re.sub(r"\\\n\s*", " ", f"{fenced}\n{indented}")
    found = []
    for line in re.findall(r"\bpython -m (matcard\.[^\n`]*)$", joined, re.MULTILINE):
        if line.count('"') % 2:  # the command stands in quotation marks itself
            line = line[: line.rindex('"')]
        words = shlex.split(re.split(r"\s{3,}|\s#\s", line)[0])
        for mark in ("|", ">", "&&", "&"):
            words = words[: words.index(mark)] if mark in words else words
        found.append([word for word in words if word != "..."])
    return found


def test_commands_are_found(tmp_path, monkeypatch):
    page = tmp_path / "page.md"
    page.write_text(
        "Say `python -m matcard.data`:\n\n    python -m matcard.data show a   all of it\n\n"
        "```sh\nfind . | python -m matcard.predict RUN - \\\n    -o 'a b.csv' > log\n```\n"
    )
    monkeypatch.setattr(f"{__name__}.ROOT", tmp_path)
    assert commands("page.md") == [
        ["matcard.predict", "RUN", "-", "-o", "a b.csv"],
        ["matcard.data", "show", "a"],
    ]


@pytest.mark.parametrize("name", [name for name in TEXTS if commands(name)])
def test_commands_are_understood_by_their_own_parsers(name, parse, capsys):
    for command in commands(name):
        try:
            parse(command)
        except (Exception, SystemExit) as error:
            pytest.fail(f"{name}: python -m {shlex.join(command)}: {error} {capsys.readouterr().err}")


@pytest.mark.parametrize("line", ["matcard.train --trainer.epochs 3", "matcard.data shwo", "matcard.evaluate"])
def test_commands_that_are_not_understood_are_told(line, parse):
    with pytest.raises((ValueError, SystemExit)):
        parse(line.split())


def flags_of_commands(monkeypatch):
    """Give the options of every command that has a parser of its own."""
    flags, add_argument = {"--help"}, argparse._ActionsContainer.add_argument

    def noted(self, *names, **options):
        flags.update(name for name in names if isinstance(name, str))
        return add_argument(self, *names, **options)

    monkeypatch.setattr(argparse._ActionsContainer, "add_argument", noted)
    for module in ("compare", "data", "evaluate", "predict", "report"):
        with pytest.raises(SystemExit):
            entry(f"matcard.{module}").main(["--help"])
    return flags


@pytest.fixture
def known(monkeypatch, capsys):
    """Every option that there is."""
    known = flags_of_commands(monkeypatch) | {"--config", "--resume"}
    known |= {f"--{field.name}" for field in dataclasses.fields(StudyOptions)}
    for model, loss, base in itertools.product(Classifier.names(), Loss.names(), SampleLoss.names()):
        kinds = option_kinds({"model": {"name": model}, "loss": {"name": loss, "base": {"name": base}}})
        known |= {f"--{option}" for option, _ in option_types(Config, kinds)}
    capsys.readouterr()
    for script in (ROOT / "benchmarks").glob("*.py"):
        known |= set(FLAG.findall(script.read_text()))
    return known


def test_options_exist(known):
    for name in TEXTS:
        lines = [line for line in text_of(name).splitlines() if not OTHER_TOOLS.search(line)]
        named = {flag.rstrip(".") for flag in FLAG.findall("\n".join(lines))}
        unknown = sorted(flag for flag in named - known if not any(option.startswith(f"{flag}.") for option in known))
        assert not unknown, name


@pytest.mark.parametrize("name", [name for name in TEXTS if name != TUTORIAL and "```python" in text_of(name)])
def test_python_blocks_run(name, tmp_path, monkeypatch):
    (tmp_path / "tests").symlink_to(ROOT / "tests")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Loss, "_known", dict(Loss._known))  # a loss that an example defines is known there alone
    for code in re.findall(r"```python\n(.*?)```", text_of(name), re.DOTALL):
        exec(compile(code, name, "exec", dont_inherit=True), {})


@pytest.mark.parametrize("name", TEXTS)
def test_links_lead_somewhere(name):
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", (ROOT / name).read_text()):
        assert ((ROOT / name).parent / target).exists(), target


@pytest.mark.parametrize("name", TEXTS)
def test_commands_name_modules_and_scripts_that_exist(name):
    text = text_of(name)
    for module in re.findall(r"python -m (matcard[\w.]*\w)", text):
        path = ROOT / module.replace(".", "/")
        assert path.with_suffix(".py").is_file() or (path / "__main__.py").is_file(), module
    for script in re.findall(r"python (\w[\w/]*\.py)", text):
        assert (ROOT / script).is_file(), script


# The tutorial: its blocks one after another in an empty folder, as a reader runs them.

FEWER = {"--trainer.max_epochs": "6", "--trials": "2"}
"""What is shortened, so that the test is quick."""


def steps(name):
    """Give the blocks of Python and of shell commands of a page, in order."""
    return re.findall(r"^```(python|sh)\n(.*?)^```", text_of(name), re.DOTALL | re.MULTILINE)


def typed(line):
    """Do what a line of the shell says; matcard's commands in this process, which has torch loaded already."""
    if not line.startswith("python -m "):
        subprocess.run(line, shell=True, check=True, stdout=subprocess.DEVNULL)
        return
    module, *argv = shlex.split(line.removeprefix("python -m "))
    if "chgnet" in argv and find_spec("chgnet") is None:
        argv[argv.index("chgnet")] = "magpie"
    for option, value in FEWER.items():
        if option in argv:
            argv[argv.index(option) + 1] = value
    entry(module).main(argv)


def test_the_tutorial_can_be_followed(tmp_path, tmp_path_factory, monkeypatch, capsys, recwarn):
    monkeypatch.setenv("MATCARD_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.setenv("MATCARD_RUN_DIR", "")  # set by each run; put back in the end
    monkeypatch.chdir(tmp_path)
    names = {}
    for language, code in steps(TUTORIAL):
        if language == "python":
            exec(compile(code.replace("order[:400]", "order[:150]"), TUTORIAL, "exec"), names)
            continue
        for line in re.sub(r"\\\n\s*", " ", code).splitlines():
            typed(line)
    printed = capsys.readouterr().out + "".join(str(warning.message) for warning in recwarn)
    for words in ("tetragonal *", "Recall per class", "of 80 crystals 0 by id", "20 inputs", "2 of 2 trials"):
        assert words in printed, words
    for file in ("first/report.html", "first/model/model.json", "studies/first/best.yaml"):
        assert (tmp_path / "runs" / file).stat().st_size, file
    assert len((tmp_path / "predicted.csv").read_text().splitlines()) == 1 + 20


def test_each_table_of_results_has_its_runs_and_its_command():
    results, page = ROOT / "benchmarks/results", text_of("benchmarks/README.md")
    tables = {path.stem: path.read_text() for path in results.glob("*.md")}
    assert {path.stem for path in results.glob("*.parquet")} <= {
        *tables,
        *("published", "crystals-redundant", "crystals-curve"),
    }, "which have their tables on the page"
    for name, text in tables.items():
        command = re.search(r"^    (python -m matcard\.compare .*)$", text, re.MULTILINE)[1]
        assert f"--config {name} " in command
        assert f"    {command}\n" in page, name
        for section in text.split("\n## ")[1:]:
            title, table = section.strip().split("\n\n")
            if not re.search(r": mean over seeds|: paired difference|^Tasks won|^Mean ranks", title):
                assert table in page, f"{name}: the page shows another short table of {title}"


NAMES = {metric.label: name for name, metric in METRICS.items()}


@pytest.mark.parametrize("path", sorted((ROOT / "benchmarks/results").glob("*.md")), ids=lambda path: path.stem)
def test_short_tables_are_those_of_their_runs(path):
    runs = pd.read_parquet(path.with_suffix(".parquet"))
    runs = runs[(runs["stage"] == "test") & (runs["status"] == "finished")]
    checked = 0
    for section in path.read_text().replace("\\", "").split("\n## ")[1:]:
        task, _, table = section.strip().partition("\n\n")
        if task not in set(runs["task"]):
            continue
        header, _, *rows = ([cell.strip() for cell in line.strip("| ").split(" | ")] for line in table.splitlines())
        for method, *cells in rows:
            own = runs[(runs["task"] == task) & (runs["method"] == method)]
            for heading, cell in zip(header[1:], cells, strict=True):
                name = NAMES[heading.removesuffix(", argmax").removesuffix(", decision")]
                name += "_at_decision" if heading.endswith(", decision") else ""
                scores = own[f"test_{name}"].dropna()
                if scores.empty:
                    assert cell == "–"
                    continue
                half = scores.std() / len(scores) ** 0.5 * stats.t.ppf(0.975, len(scores) - 1)
                numbers = re.findall(r"-?\d*\.\d+", cell)
                assert float(numbers[0]) == pytest.approx(scores.mean(), abs=6e-4), (task, method, heading)
                assert len(numbers) == 1 or float(numbers[-1]) == pytest.approx(half, abs=6e-4), (task, method, heading)
                checked += 1
    assert checked


def test_the_table_of_the_learning_curve_is_that_of_its_runs(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    script = import_module("learning_curve")
    assert script.table(script.read()) in text_of("benchmarks/README.md")


def test_every_descriptor_is_in_the_table_of_them():
    text = (ROOT / "docs/howto/train.md").read_text(encoding="utf-8")
    told = set(re.findall(r"^\| `([\w:]+)", text, re.MULTILINE))
    assert {name.partition(":")[0] for name in BUILT_IN} <= {name.partition(":")[0] for name in told}
    assert f'[project.entry-points."{GROUP}"]' in text


EXPECTED = {
    "crystals-sources": [
        ("graph", "boosting_ranks"),
        ("CGCNN as published", "ce"),
        ("graph", "ce"),
        ("graph + number", "ce"),
        ("CHGNet", "boosting_ranks"),
        ("CHGNet + number", "ce"),
    ],
    "crystals-system": [
        ("graph", "boosting"),
        ("graph", "ce"),
        ("graph (40 epochs)", "ce"),
        ("graph + CHGNet (40 epochs)", "ce"),
        ("graph + CHGNet (40 epochs)", "spread_reweight"),
        ("graph + CHGNet (40 epochs)", "logit_adjustment"),
    ],
}
"""What the rows of README's table of results are, in their order."""


def test_the_table_of_what_to_expect_is_that_of_the_runs():
    section = text_of("README.md").partition("## What to expect")[2]
    printed = [re.findall(r"\.\d{3}", row) for row in re.findall(r"^\|.* ± .*$", section, re.MULTILINE)]
    found = []
    for name, rows in EXPECTED.items():
        runs = pd.read_parquet(ROOT / f"benchmarks/results/{name}.parquet").groupby(["task", "method"])
        for row in rows:
            scores = runs.get_group(row)[[f"test_{of}" for of in ("average_precision", "macro_f1", "minority_recall")]]
            half = scores.std() / len(scores) ** 0.5 * stats.t.ppf(0.975, len(scores) - 1)
            found.append([f"{x:.3f}"[1:] for pair in zip(scores.mean(), half, strict=True) for x in pair])
    assert printed == found
