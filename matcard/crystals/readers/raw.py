"""One structure as the decoders give it, before anything about it is checked."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jaxtyping import Float64, Shaped
    from numpy import ndarray


class StructureError(ValueError):
    """One row's structure cannot be used; the message says why and what to do. The row is left out."""


class Raw(NamedTuple):
    """A cell and its n sites, in angstrom and in units of the lattice vectors.

    `lattice` is (3, 3), rows a, b, c, or (6,): a, b, c and alpha, beta, gamma in degrees. `notes` say
    what the parser found questionable.
    """

    lattice: Float64[ndarray, ...]
    symbols: Sequence[str] | Shaped[ndarray, " n"]
    frac_coords: Float64[ndarray, "n 3"]
    notes: tuple[str, ...] = ()
