"""Exit codes, and what is printed with them."""

from __future__ import annotations

import subprocess
import sys
import warnings

import pytest

import matcard
from matcard.__main__ import COMMANDS
from matcard.cli import run_command
from matcard.errors import InputError, MatcardWarning, TrainingError, listed, nearest_names


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


def test_long_lists_are_cut():
    assert listed("abc") == "a, b, c"
    assert listed(range(30)) == ", ".join(map(str, range(30)))
    assert listed(range(300), 3) == "0, 1, 2 and 297 more"
    assert nearest_names("x", map(str, range(3000))).endswith("29 and 2970 more")


def matcard_command(*words):
    return subprocess.run([sys.executable, "-m", "matcard", *words], capture_output=True, text=True)


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"]])
def test_help_lists_every_command_without_torch(words):
    code = (
        f"import sys; sys.argv = ['matcard', *{words}]; from matcard.__main__ import main; main(); "
        "assert not {'torch', 'pandas', 'numpy'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for name in COMMANDS:
        assert f"\n  {name} " in done.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_is_the_module_of_its_name(name):
    done = matcard_command(name, "--help")
    assert done.returncode == 0, done.stderr
    module = subprocess.run([sys.executable, "-m", f"matcard.{name}", "--help"], capture_output=True, text=True)
    assert done.stdout == module.stdout


def test_a_command_that_is_none():
    done = matcard_command("trian")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: there is no command 'trian'; did you mean train? there are: train, ")
    assert matcard_command("--version").stdout == f"matcard {matcard.__version__}\n"


def test_a_command_exits_with_its_own_code():
    done = matcard_command("train", "--data.sourc=x")
    assert done.returncode == 2
    assert done.stderr.startswith("error: unknown option '--data.sourc'; did you mean data.source or ")


@pytest.mark.parametrize("name", ["data", "predict", "evaluate", "report"])
def test_quick_commands_load_nothing_heavy_for_their_help(name):
    module = COMMANDS[name][0]
    code = (
        f"import sys, {module} as command\ntry: command.main(['--help'])\n"
        "finally: assert not {'torch', 'matplotlib', 'pandas', 'scipy'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
