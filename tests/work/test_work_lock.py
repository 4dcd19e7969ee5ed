"""The lock of a study or comparison."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from matcard.errors import InputError
from matcard.work.folder import held

HOLD = """
import sys, time
from pathlib import Path
from matcard.work.folder import held
with held(Path(sys.argv[1]), "--study"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_coordinator_is_refused_and_told_who_holds_it_and_takes_nothing_away(tmp_path):
    with held(tmp_path / "study", "--study"):
        for _ in range(2):
            with (
                pytest.raises(
                    InputError, match=rf"--study .*study is at work already: process {os.getpid()} on .* since "
                ),
                held(tmp_path / "study", "--study"),
            ):
                raise AssertionError("two at once")
        with held(tmp_path / "another", "--study"):
            pass
    with held(tmp_path / "study", "--study"):
        pass


def test_the_lock_of_a_killed_process_is_no_lock(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE)
    try:
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(InputError, match=f"process {process.pid} on "), held(tmp_path, "--study"):
            pass
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    with held(tmp_path, "--study"):
        pass


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"--study .*file.* cannot be made"), held(tmp_path / "file" / "a", "--study"):
        pass
