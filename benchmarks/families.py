"""Families of crystals that repeat one another, made in structure space: walks of a crystal, and doping series.

A walk goes from its parent by small steps, each a strain and a shift of all atoms, so that its members lie at any
distance from the parent and from one another: there is no gap between copies and neighbours. How long its steps are is
drawn for each family. A series replaces one site of a small supercell by a neighbour in its group of the periodic
table, under a strain and a shift: its members' formulas differ, and one that equals a real crystal's is left out.
Members are taken to have the class of their parent, which no calculation has confirmed.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise, product
from typing import TYPE_CHECKING

import numpy as np
import torch
from ase.data import atomic_numbers
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.io.ase import AseAtomsAdaptor
from rich.console import Console

from matcard.batch import directions
from matcard.cache import cache_dir
from matcard.crystals.crystals import reduced_formulas
from matcard.crystals.read import from_objects
from matcard.data.draws import unit
from matcard.descriptors.describe import describe, find_descriptors
from matcard.files import locked, written_whole
from matcard.progress import crystal_progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from ase import Atoms
    from jaxtyping import Bool, Float, Float32, Int64, Shaped

    from matcard.crystals.crystals import Crystals

STRAIN, SHIFT = 0.004, 0.02
"""Deviation of a step's strain, and of its shift of each atom in angstrom; of a walk times 1/2 to 2."""
MOST_ATOMS, MOST_CELLS = 40, 8
"""Of a supercell."""
TOLERANCES = (0.05, 0.1, 0.2, 0.3)
"""Root mean square distances, in units of (volume per atom)^(1/3), up to which StructureMatcher calls two alike."""
_COLUMNS = (
    "Li Na K Rb Cs", "Be Mg Ca Sr Ba", "Sc Y La", "Ti Zr Hf", "V Nb Ta", "Cr Mo W", "Mn Tc Re", "Fe Ru Os", "Co Rh Ir",
    "Ni Pd Pt", "Cu Ag Au", "Zn Cd Hg", "B Al Ga In Tl", "C Si Ge Sn Pb", "N P As Sb Bi", "O S Se Te", "F Cl Br I",
    "La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu", "Ac Th Pa U Np Pu",
)  # fmt: skip
NEIGHBORS: dict[int, list[int]] = {}
"""Atomic number -> those of its neighbours in its group, of a lanthanide or actinide those beside it."""
for _column in _COLUMNS:
    for _one, _other in pairwise(atomic_numbers[symbol] for symbol in _column.split()):
        NEIGHBORS.setdefault(_one, []).append(_other)
        NEIGHBORS.setdefault(_other, []).append(_one)


@dataclass(frozen=True)
class Pool:
    """P members of families, for seeds to draw families from.

    Attributes:
        parent: position of each one's parent among the real crystals.
        number: of a member within its family, from 0.
        series: whether it is of a series.
        formulas: reduced ones.
        chgnet: CHGNet's numbers.
        magpie: of the composition.
    """

    parent: Int64[np.ndarray, " P"]
    number: Int64[np.ndarray, " P"]
    series: Bool[np.ndarray, " P"]
    formulas: Shaped[np.ndarray, " P"]
    chgnet: Float32[np.ndarray, "P 384"]
    magpie: Float32[np.ndarray, "P 132"]


def moved(atoms: Atoms, size: float, rng: np.random.Generator) -> Atoms:
    """Give a crystal after a step: under a strain and with all atoms shifted, `size` times the usual."""
    strain = rng.normal(scale=size * STRAIN, size=(3, 3))
    after = atoms.copy()
    after.set_cell(atoms.cell[:] @ (np.eye(3) + (strain + strain.T) / 2), scale_atoms=True)
    after.positions += rng.normal(scale=size * SHIFT, size=after.positions.shape)
    return after


def walk(parent: Atoms, members: int, rng: np.random.Generator) -> list[Atoms]:
    """Give the places of a random walk that begins at a crystal."""
    size = 2 ** rng.uniform(-1, 1)
    made = [parent]
    for _ in range(members):
        made.append(moved(made[-1], size, rng))
    return made[1:]


def series(parent: Atoms, members: int, known: set[str], rng: np.random.Generator) -> list[Atoms]:
    """Give supercells with one site replaced, each size, element and substitute once before any comes again.

    There are none where no element has a neighbour, or the smallest supercell is too large.

    Args:
        parent: the crystal.
        members: their number.
        known: reduced formulas that none may have.
        rng: draws their order, the site and its surroundings.
    """
    kinds = [
        (cells, element, other)
        for cells in range(2, min(MOST_CELLS, MOST_ATOMS // len(parent)) + 1)
        for element in np.unique(parent.numbers).tolist()
        for other in NEIGHBORS.get(element, ())
    ]
    replaced = []
    for cells, element, other in (kinds[k] for k in rng.permutation(len(kinds))):
        atoms = parent.repeat(_repeats(parent, cells))
        atoms.numbers[rng.choice(np.flatnonzero(atoms.numbers == element))] = other
        replaced.append(atoms)
    if replaced:
        new = [str(formula) not in known for formula in reduced_formulas(from_objects(replaced))]
        replaced = [atoms for atoms, is_new in zip(replaced, new, strict=True) if is_new]
    return [moved(replaced[k % len(replaced)], 1.0, rng) for k in range(members)] if replaced else []


def _repeats(atoms: Atoms, cells: int) -> tuple[int, ...]:
    """Give how often each lattice vector is repeated in so many cells, so that the longest is as short as it can be."""
    ways = [way for way in product(range(1, cells + 1), repeat=3) if np.prod(way) == cells]
    return min(ways, key=lambda way: float((atoms.cell.lengths() * way).max()))


def repeats(parent: Atoms, members: list[Atoms]) -> Bool[np.ndarray, "m 4"]:
    """Say which members StructureMatcher finds an earlier one like that stays, the parent being the first of all.

    The members of other families are not looked at.
    """
    structures = [AseAtomsAdaptor.get_structure(atoms) for atoms in (parent, *members)]
    formulas = [structure.composition.reduced_formula for structure in structures]
    # Copies share their cell: to look for a smaller one takes time, and moved atoms leave none.
    matcher = StructureMatcher(primitive_cell=False)
    distance: dict[tuple[int, int], float] = {}

    def alike(k: int, other: int, tolerance: float) -> bool:
        if formulas[k] != formulas[other]:
            return False
        if (k, other) not in distance:
            found = matcher.get_rms_dist(structures[k], structures[other])
            distance[k, other] = np.inf if found is None else float(found[0])
        return distance[k, other] <= tolerance

    found = np.zeros((len(members), len(TOLERANCES)), bool)
    for column, tolerance in enumerate(TOLERANCES):
        kept = [0]
        for k in range(1, len(structures)):
            found[k - 1, column] = any(alike(k, other, tolerance) for other in kept)
            if not found[k - 1, column]:
                kept.append(k)
    return found


def numbers_of(crystals: Crystals, name: str) -> Float32[np.ndarray, "N F"]:
    """Compute descriptors, or find them in the cache."""
    with crystal_progress(Console(stderr=True), f"computing {name}") as progress:
        found = describe(find_descriptors(name), crystals, cache_dir() / "descriptors", progress=progress)
    assert all(reason is None for reason in found.reasons), next(filter(None, found.reasons))
    return found.values


def make_families(crystals: Crystals, members: int, share: float) -> Iterator[tuple[int, bool, list[Atoms]]]:
    """Make a family of each of a share of the crystals, a walk or, half of them where it can be, a series.

    Those of another number of members begin alike.

    Yields:
        the parent's position, whether it is a series, and the members.
    """
    known = set(reduced_formulas(crystals).tolist())
    parents = np.random.default_rng(0).permutation(len(crystals))[: round(share * len(crystals))]
    with crystal_progress(Console(stderr=True), "making families", unit="families") as progress:
        for done, parent in enumerate(parents.tolist()):
            rng = np.random.default_rng([1, parent])
            made = series(crystals.atoms(parent), members, known, rng) if rng.random() < 0.5 else []
            yield parent, bool(made), made or walk(crystals.atoms(parent), members, rng)
            progress(done + 1, len(parents))


def make_pool(crystals: Crystals, members: int, share: float) -> Pool:
    """Make the families of a share of the crystals and compute their numbers, once: they are kept on disk."""

    def make() -> dict[str, np.ndarray]:
        families = list(make_families(crystals, members, share))
        joined = from_objects([atoms for _, _, family in families for atoms in family])
        return {
            "parent": np.repeat([parent for parent, _, _ in families], members),
            "number": np.tile(np.arange(members), len(families)),
            "series": np.repeat([is_series for _, is_series, _ in families], members),
            "formulas": reduced_formulas(joined).astype(str),
            "chgnet": numbers_of(joined, "chgnet"),
            "magpie": numbers_of(joined, "magpie"),
        }

    return Pool(**_kept(f"pool-{crystals.content_digest()[:16]}-{members}-{share}", make))


def repeats_of_pool(crystals: Crystals, members: int, share: float) -> Bool[np.ndarray, "P 4"]:
    """Say which members of `make_pool` StructureMatcher finds earlier ones like, once: it is kept on disk."""

    def make() -> dict[str, np.ndarray]:
        families = make_families(crystals, members, share)
        return {"repeats": np.concatenate([repeats(crystals.atoms(parent), family) for parent, _, family in families])}

    return _kept(f"repeats-{crystals.content_digest()[:16]}-{members}-{share}", make)["repeats"]


def pool_dir() -> Path:
    """Give the folder of what is kept."""
    folder = cache_dir() / "redundant"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _kept(name: str, make: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    path = pool_dir() / f"{name}.npz"
    with locked(path, "makes families"):
        if not path.exists():
            arrays = make()
            with written_whole(path) as unfinished, unfinished.open("wb") as file:
                np.savez(file, **arrays)
    with np.load(path) as kept:
        return dict(kept)


def distances(pool: Pool, chgnet: Float[np.ndarray, "N F"]) -> dict[str, list[float]]:
    """Give quantiles (5, 50, 95 %) of the distances to parents, and of real crystals to the nearest other, in units."""
    points = directions(np.concatenate([chgnet, pool.chgnet])).numpy()
    real, copies = points[: len(chgnet)], points[len(chgnet) :]
    length = unit(torch.from_numpy(real))
    to_parent = np.linalg.norm(copies - real[pool.parent], axis=1)
    nearest = np.sort(np.sqrt(np.clip(2 - 2 * real @ real.T, 0, None)), axis=1)[:, 1]
    found = {"real crystal to the nearest other": nearest, "walk to its parent": to_parent[~pool.series]}
    found["series to its parent"] = to_parent[pool.series]
    return {name: (np.quantile(of, (0.05, 0.5, 0.95)) / length).tolist() for name, of in found.items() if len(of)}
