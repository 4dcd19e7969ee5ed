"""What decides, besides its input, what is built and kept: the modules and libraries that build it."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from importlib.resources.abc import Traversable

PYMATGEN = ("pymatgen", "pymatgen-core")
"""Distributions that pymatgen's code is in: all of it in the first, or since 2026 most of it in the second."""


def code_digest(modules: Iterable[Traversable], distributions: Iterable[str]) -> str:
    """Give the sha256 of modules and of the versions of libraries.

    Args:
        modules: files of code, in any order, of different names.
        distributions: libraries as pip calls them; those that are not installed play no part.
    """
    sha = hashlib.sha256()
    for name in sorted(distributions):
        with suppress(PackageNotFoundError):
            sha.update(f"{name}=={version(name)}\n".encode())
    for module in sorted(modules, key=lambda module: module.name):
        sha.update(module.read_bytes())
    return sha.hexdigest()
