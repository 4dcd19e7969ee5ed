"""Crystals for tests of descriptors."""

from __future__ import annotations

import numpy as np

from matcard.crystals.crystals import Crystals, offsets_from_counts


def crystals_of(*structures: tuple[np.ndarray, list[int], np.ndarray], columns=None) -> Crystals:
    """Give crystals of (lattice, atomic numbers, fractional coordinates)."""
    lattices, numbers, coords = zip(*structures, strict=True)
    return Crystals(
        ids=np.array([f"c{i}" for i in range(len(structures))], dtype=object),
        lattice=np.array(lattices, dtype=float),
        offsets=offsets_from_counts(np.array([len(z) for z in numbers])),
        numbers=np.concatenate(numbers).astype(np.uint8),
        frac_coords=np.concatenate(coords).astype(float),
        **({} if columns is None else {"columns": columns}),
    )


def random_crystal(seed: int, atoms: int = 6) -> tuple[np.ndarray, list[int], np.ndarray]:
    """Give a triclinic cell with sites at least 1.2 angstrom apart."""
    generator = np.random.default_rng(seed)
    lattice = np.diag(generator.uniform(4, 6, 3)) + generator.uniform(-0.8, 0.8, (3, 3))
    shifts = np.stack(np.meshgrid(*[[-1, 0, 1]] * 3), axis=-1).reshape(-1, 3)
    sites: list[np.ndarray] = []
    while len(sites) < atoms:
        new = generator.uniform(0, 1, 3)
        if all(np.linalg.norm((new - old + shifts) @ lattice, axis=1).min() > 1.2 for old in sites):
            sites.append(new)
    return lattice, generator.choice([1, 3, 8, 11, 17, 22, 26, 38, 56, 94], atoms).tolist(), np.array(sites)


SALT = (4.0 * (np.ones((3, 3)) - np.eye(3)) / np.sqrt(2), [11, 17], np.array([[0, 0, 0], [0.5, 0.5, 0.5]]))
IRON = (2.87 * np.eye(3), [26, 26], np.array([[0, 0, 0], [0.5, 0.5, 0.5]]))
ALONE = (20.0 * np.eye(3), [18], np.array([[0.3, 0.3, 0.3]]))
"""An atom with nothing within 6 angstrom."""
HALF_ALONE = (30.0 * np.eye(3), [1, 1, 18], np.array([[0, 0, 0], [0.025, 0, 0], [0.5, 0.5, 0.5]]))
"""A molecule and an atom far from it."""
