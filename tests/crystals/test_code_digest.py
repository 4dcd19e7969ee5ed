"""What is kept is made anew when the code or a library that makes it changes."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError

import pytest
from graph_cases import random_crystals

from matcard.crystals import code_digest as module
from matcard.crystals import parsed
from matcard.crystals.code_digest import code_digest
from matcard.crystals.options import GraphOptions
from matcard.crystals.store import store_key
from matcard.data import structure_features
from matcard.data.perovskites import table


@pytest.fixture
def installed(monkeypatch):
    """Versions by distribution, to be changed by a test."""
    versions = dict.fromkeys(("ase", "matminer", "pymatgen", "pymatgen-core", "spglib"), "1")

    def version(name):
        if name not in versions:
            raise PackageNotFoundError(name)
        return versions[name]

    monkeypatch.setattr(module, "version", version)
    return versions


def test_modules_and_versions_decide_and_their_order_does_not(tmp_path, installed):
    modules = [tmp_path / "a.py", tmp_path / "b.py"]
    for path in modules:
        path.write_text(path.name)
    digests = [code_digest(modules, ["ase", "spglib"])]
    assert code_digest(modules[::-1], ["spglib", "ase", "no-such-library"]) == digests[0]
    modules[1].write_text("edited")
    digests.append(code_digest(modules, ["ase", "spglib"]))
    installed["ase"] = "2"
    digests.append(code_digest(modules, ["ase", "spglib"]))
    del installed["ase"]
    digests.append(code_digest(modules, ["ase", "spglib"]))
    assert len(set(digests)) == 4


CRYSTALS = random_crystals(2, 3)
KEYS = {
    "parsed crystals": parsed._code,
    "graphs": lambda: store_key(CRYSTALS, GraphOptions()),
    "features": lambda: structure_features._key(CRYSTALS, "density"),
    "generated crystals": table._version.__wrapped__,
}


@pytest.mark.parametrize("name", KEYS)
def test_another_version_of_pymatgen_gives_another_key(name, installed):
    found = set()
    for distribution in ("pymatgen", "pymatgen-core"):
        found.add(KEYS[name]())
        installed[distribution] = "2"
    found.add(KEYS[name]())
    assert len(found) == 3
    del installed["pymatgen-core"]  # as it was before 2026
    assert KEYS[name]() not in found
