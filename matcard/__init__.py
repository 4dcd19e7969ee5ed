"""matcard: crystal-graph networks that find the rare class."""

from __future__ import annotations

__version__ = "0.1.0"
