"""Lazy public names (PEP 562), so that `import matcard` and `--help` load neither torch nor pymatgen."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def attach(package: str, names: dict[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Give `__getattr__`, `__dir__` and `__all__` of a package whose names are imported on first use.

    Args:
        package: the package's `__name__`.
        names: public name -> submodule (relative to the package) that defines it.
    """
    public = sorted(names)

    def __getattr__(name: str) -> Any:  # noqa: N807
        if name not in names:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{package}.{names[name]}"), name)

    def __dir__() -> list[str]:  # noqa: N807
        return public

    return __getattr__, __dir__, public
