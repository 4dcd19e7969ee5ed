"""How crystals become graphs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from matcard.errors import InputError

Ties = Literal["keep", "cut", "strict"]


@dataclass(frozen=True)
class GraphOptions:
    """Which neighbours of an atom become edges.

    Raises:
        InputError: when a value is out of range.
    """

    radius: float = 8.0
    """Cutoff radius in angstrom: no edge is longer."""

    neighbors: int = 12
    """Number of nearest neighbours an atom takes edges from."""

    ties: Ties = "keep"
    """What happens when the last neighbour belongs to a shell, of distances equal to within 0.01 angstrom, that
    has too many members: `keep` keeps the whole shell, `cut` drops it as a whole (an atom whose first shell is
    too large then has no edge), `strict` splits it and takes exactly `neighbors`, as the original CGCNN does
    (the graph then depends on the order of sites)."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.radius) and self.radius > 0):
            raise InputError(f"radius must be a positive number of angstroms (8 is usual), not {self.radius!r}")
        if self.neighbors < 1:
            raise InputError(f"neighbors must be at least 1 (12 is usual), not {self.neighbors!r}")
        if self.ties not in get_args(Ties):
            raise InputError(f"ties must be one of {', '.join(get_args(Ties))}, not {self.ties!r}")
