"""Shared fixtures."""

from __future__ import annotations

import os
import signal
import time
import warnings
from pathlib import Path

import pytest

from matcard.errors import MatcardWarning

if "PYTEST_XDIST_WORKER" in os.environ:
    # Several processes share the cores: threads of each would wait for one another.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A background job of a script ignores Ctrl-C, and so would all that the tests start and interrupt.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of real data named by MATCARD_TEST_DATA; tests that use it are skipped without it."""
    folder = os.environ.get("MATCARD_TEST_DATA")
    if not folder:
        pytest.skip("MATCARD_TEST_DATA is not set: no real data at hand")
    path = Path(folder)
    if not path.is_dir():
        pytest.fail(f"MATCARD_TEST_DATA={folder} is not a folder")
    return path


@pytest.fixture
def warned():
    """Starts a thread and gives the first warning that is heard while it waits."""

    def started(thread):
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always", MatcardWarning)
            thread.start()
            while not told:
                assert thread.is_alive()
                time.sleep(0.05)
        return str(told[0].message)

    return started


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what is marked `gpu` where there is none, with the reason."""
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if not marked:
        return
    import torch

    if not torch.cuda.is_available():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))
