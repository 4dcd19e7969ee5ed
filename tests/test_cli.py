"""Exit codes, and what is printed with them."""

from __future__ import annotations

import subprocess
import sys
import warnings

import pytest

import matcard
from matcard.cli import run_command
from matcard.errors import InputError, MatcardWarning, TrainingError, nearest_names


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (InputError("no such file: give another"), 2, "error: no such file: give another\n"),
        (TrainingError("not finite"), 1, "error: not finite\n"),
        (KeyboardInterrupt("all is kept"), 130, "\ninterrupted: all is kept\n"),
        (KeyboardInterrupt(), 130, "\ninterrupted\n"),
    ],
)
def test_exit_codes(capsys, error, code, told):
    def command(argv):
        raise error

    with pytest.raises(SystemExit) as stopped:
        run_command(command, [])
    assert stopped.value.code == code
    assert capsys.readouterr().err == told


def test_our_warnings_are_sentences_and_others_are_not_shown(capsys):
    def command(argv):
        warnings.simplefilter("always")
        warnings.warn("take care", MatcardWarning, stacklevel=1)
        warnings.warn("for programmers", DeprecationWarning, stacklevel=1)

    run_command(command, [])
    assert capsys.readouterr().err == "warning: take care\n"


def test_a_closed_pipe_is_no_error():
    code = "from matcard.cli import run_command; run_command(lambda argv: [print('x' * 99) for _ in range(99999)], [])"
    reader = subprocess.run(
        f'{sys.executable} -c "{code}" | head -n 1', shell=True, capture_output=True, text=True, check=True
    )
    assert reader.stderr == ""


@pytest.mark.parametrize(
    ("name", "names", "told"),
    [
        ("spred", ["spread", "magnitude"], "did you mean spread? there are: spread, magnitude"),
        ("x", ["spread"], "there are: spread"),
        ("x", [], "there are: none"),
        ("volum", [*(f"name{i}" for i in range(50)), "volume"], "did you mean volume?"),
    ],
)
def test_nearest_names(name, names, told):
    assert nearest_names(name, names) == told


def test_importing_matcard_loads_nothing_heavy():
    code = (
        "import sys, matcard; assert matcard.__version__;"
        "assert not {'torch', 'numpy', 'pandas', 'pymatgen'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert matcard.__version__
