"""Crystals drawn by the rules: compositions, distortions, and what heat and strain do to them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from matcard.crystals.crystals import Crystals
from matcard.data.perovskites.phases import PHASES, build, sites
from matcard.data.perovskites.rules import RULES

if TYPE_CHECKING:
    from jaxtyping import Int64

    from matcard.data.perovskites.ions import Compositions
    from matcard.data.perovskites.phases import Phase

_THERMAL = 0.08  # angstrom along each axis at 300 K, root mean square, of a site of mobility 1
_MOBILITY = np.array([1.0, 0.7, 1.1])  # of A, B and X: the caged B moves least
_TEMPERATURES = (100.0, 800.0)  # kelvin
_STRAIN = 0.012  # standard deviation of a component of the strain
_BOND_SPREAD = 0.01  # relative standard deviation of a crystal's bond lengths from the sums of radii
_DISTORTION_SPREAD = 0.25  # standard deviation of the logarithm of the distortion
_LARGEST_DISTORTION = 0.55  # radians of tilt, beyond which anions run into each other
_DECIMALS = 6  # kept of lattices (angstrom) and fractional coordinates, so that all platforms agree


def sample(
    compositions: Compositions, rng: np.random.Generator
) -> tuple[Crystals, Int64[np.ndarray, " N"], Int64[np.ndarray, " N"]]:
    """Draw the crystals of all phases, in random order.

    Returns:
        The N crystals, which composition each has, and the phase of each, its position in `PHASES`.
    """
    drawn = [_of_phase(phase, compositions, rng) for phase in PHASES]
    phase = np.repeat(np.arange(len(PHASES)), [len(which) for which, _ in drawn])
    order = rng.permutation(len(phase))
    crystals = Crystals.concatenate(crystals for _, crystals in drawn).take(order)
    ids = np.array([f"perovskite-{i:04d}" for i in range(len(order))], dtype=object)
    return replace(crystals, ids=ids), np.concatenate([which for which, _ in drawn])[order], phase[order]


def _of_phase(
    phase: Phase, compositions: Compositions, rng: np.random.Generator
) -> tuple[Int64[np.ndarray, " n"], Crystals]:
    """Draw the crystals of one phase, without ids, and which composition each has."""
    rule, site = RULES[phase.name], sites(phase)
    t, n = compositions.tolerance_factor, rule.count
    cumulative = np.cumsum(np.exp(rule.log_likelihood(t, compositions.octahedral_factor)))
    which = np.searchsorted(cumulative, rng.random(n) * cumulative[-1], side="right")
    a, b, x = compositions.radii[which].T * (1.0 + _BOND_SPREAD * rng.standard_normal(n))
    distortion = rule.distortion(t[which]) * np.exp(_DISTORTION_SPREAD * rng.standard_normal(n))
    lattice, frac = build(phase, a + x, b + x, np.minimum(distortion, _LARGEST_DISTORTION))
    strain = _STRAIN * rng.standard_normal((n, 3, 3))
    lattice = lattice @ (np.eye(3) + (strain + strain.transpose(0, 2, 1)) / 2.0)
    kelvin = rng.uniform(*_TEMPERATURES, n)
    amplitude = _THERMAL * np.sqrt(kelvin / 300.0)[:, None, None] * _MOBILITY[site][:, None]
    frac = frac + amplitude * rng.standard_normal(frac.shape) @ np.linalg.inv(lattice)
    return which, Crystals(
        np.full(n, "", dtype=object),
        lattice.round(_DECIMALS),
        len(site) * np.arange(n + 1),
        compositions.numbers[which][:, site].ravel(),
        frac.reshape(-1, 3).round(_DECIMALS) % 1.0,
    )
