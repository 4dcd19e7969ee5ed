"""The neighbours of an atom: against plain loops, and under what must change nothing."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from graph_cases import (
    FCC,
    LONELY,
    PAIR_IN_BOX,
    ROCK_SALT,
    SKEWED,
    crystals_of,
    edges_of,
    graph,
    lattice_sum,
    neighbourhoods,
    random_crystals,
    tied,
)
from hypothesis import assume, given, settings

from matcard.errors import InputError
from matcard.graphs import neighbors
from matcard.graphs.graphs import build_graphs
from matcard.graphs.neighbors import GraphOptions

TIES = ("keep", "cut", "strict")


def as_set(edges):
    return {edge[:3] for edge in edges}


def same_edges(found, expected):
    assert len(found) == len(expected)
    assert as_set(found) == as_set(expected)
    lengths = {edge[:3]: edge[3] for edge in expected}
    np.testing.assert_allclose([e[3] for e in found], [lengths[e[:3]] for e in found], atol=1e-5)


@pytest.mark.parametrize("ties", ["keep", "cut"])
@pytest.mark.parametrize("neighbors", [1, 6, 12, 13, 40])
@pytest.mark.parametrize("case", [FCC, ROCK_SALT, SKEWED, PAIR_IN_BOX], ids=["fcc", "NaCl", "skewed", "pair"])
def test_equal_to_a_lattice_sum(case, neighbors, ties):
    options = GraphOptions(radius=6.5, neighbors=neighbors, ties=ties)
    same_edges(edges_of(build_graphs(crystals_of(case), options)), lattice_sum(case, options))


@st.composite
def cells(draw):
    lengths = draw(st.tuples(*[st.floats(2.5, 6)] * 3))
    shear = draw(st.tuples(*[st.floats(-2, 2)] * 3))
    lattice = np.diag(lengths)
    lattice[1, 0], lattice[2, 0], lattice[2, 1] = shear
    sites = draw(st.lists(st.tuples(*[st.floats(-1.5, 1.5)] * 3), min_size=1, max_size=3))
    return lattice, [6] * len(sites), sites


@given(cells(), st.floats(1, 6), st.integers(1, 20), st.sampled_from(TIES))
@settings(deadline=None, max_examples=40)
def test_equal_to_a_lattice_sum_for_any_cell(case, radius, k, ties):
    options = GraphOptions(radius=radius, neighbors=k, ties=ties)
    found = edges_of(build_graphs(crystals_of(case), options))
    # Rounding decides at the cutoff and at the ends of a shell: leave such cases out.
    every = lattice_sum(case, GraphOptions(radius=radius + 0.1, neighbors=10**6))
    lengths = np.array([edge[3] for edge in every])
    assume(not np.any(np.abs(lengths - radius) < 1e-6))
    for atom in range(len(case[1])):
        own = np.sort(lengths[[edge[0] == atom for edge in every]])
        if len(own) > k:
            gaps = np.abs(own - own[k - 1])
            assume(not np.any(np.abs(gaps - neighbors.TIE_TOLERANCE) < 1e-6))
    expected = lattice_sum(case, options)
    if ties == "strict":  # which members of a split shell are taken is open
        lengths = [[edge[3] for edge in sorted(edges, key=lambda e: (e[0], e[3]))] for edges in (found, expected)]
        assert [edge[0] for edge in found] == [edge[0] for edge in expected]
        np.testing.assert_allclose(*lengths, atol=1e-5)
    else:
        same_edges(found, expected)


@given(st.integers(0, 10**6), st.sampled_from(["keep", "cut"]))
@settings(deadline=None, max_examples=20)
def test_translation_changes_nothing(seed, ties):
    crystals = random_crystals(3, seed)
    shift = np.random.default_rng(seed).uniform(-2, 2, 3)
    moved = type(crystals)(
        crystals.ids, crystals.lattice, crystals.offsets, crystals.numbers, crystals.frac_coords + shift
    )
    options = GraphOptions(ties=ties)
    before, after = build_graphs(crystals, options), build_graphs(moved, options)
    for i in range(3):
        same_edges(edges_of(after, i), edges_of(before, i))


@given(st.integers(0, 10**6))
@settings(deadline=None, max_examples=20)
def test_rotation_changes_nothing(seed):
    crystals = random_crystals(3, seed)
    rotation, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    turned = type(crystals)(
        crystals.ids, crystals.lattice @ rotation, crystals.offsets, crystals.numbers, crystals.frac_coords
    )
    before, after = (build_graphs(c, GraphOptions()) for c in (crystals, turned))
    for i in range(3):
        same_edges(edges_of(after, i), edges_of(before, i))


@pytest.mark.parametrize("case", [ROCK_SALT, SKEWED], ids=["NaCl", "skewed"])
def test_permutation_of_sites_permutes_edges(case):
    lattice, numbers, frac = case
    order = np.random.default_rng(1).permutation(len(numbers))
    place = np.argsort(order)
    permuted = (lattice, np.array(numbers)[order], np.array(frac)[order])
    expected = [(int(place[t]), int(place[s]), image, d) for t, s, image, d in edges_of(graph(case))]
    same_edges(edges_of(graph(permuted)), expected)


def test_whole_cells_added_to_a_site_show_in_the_image_alone():
    lattice, numbers, frac = SKEWED
    away = np.array([[2, -3, 0], [0, 0, 1], [0, -1, 0]])
    found = edges_of(graph((lattice, numbers, np.array(frac) + away)))
    expected = [
        (t, s, tuple(int(n) for n in np.array(image) + away[t] - away[s]), d)
        for t, s, image, d in edges_of(graph(SKEWED))
    ]
    same_edges(found, expected)


@pytest.mark.parametrize("ties", TIES)
@pytest.mark.parametrize("case", [FCC, ROCK_SALT, SKEWED], ids=["fcc", "NaCl", "skewed"])
def test_supercell_has_the_neighbourhoods_of_its_cell(case, ties):
    from pymatgen.core import Structure

    lattice, numbers, frac = case
    structure = Structure(lattice, numbers, frac)
    supercell = structure.make_supercell([[2, 0, 0], [1, 2, 0], [0, 0, 1]], in_place=False)
    large = (supercell.lattice.matrix, supercell.atomic_numbers, supercell.frac_coords)
    one, four = neighbourhoods(graph(case, ties=ties)), neighbourhoods(graph(large, ties=ties))
    if ties == "strict":  # a split shell may take other elements, at the same distances
        one, four = ({(z, tuple(d for d, _ in around)): n for (z, around), n in c.items()} for c in (one, four))
    assert four == {neighbourhood: 4 * number for neighbourhood, number in one.items()}


def test_primitive_and_conventional_cell_have_the_same_neighbourhoods():
    primitive = (
        5.64 / 2 * np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]]),
        [11, 17],
        [[0, 0, 0], [0.5, 0.5, 0.5]],
    )
    small, large = neighbourhoods(graph(primitive)), neighbourhoods(graph(ROCK_SALT))
    assert large == {neighbourhood: 4 * number for neighbourhood, number in small.items()}


@pytest.mark.parametrize(
    ("neighbors", "ties", "degree", "truncated", "isolated"),
    [
        (12, "keep", 12, 0, 0),
        (12, "cut", 12, 0, 0),
        (12, "strict", 12, 0, 0),
        (8, "keep", 12, 0, 0),
        (8, "cut", 0, 1, 1),
        (8, "strict", 8, 1, 0),
        (13, "keep", 18, 0, 0),
        (13, "cut", 12, 1, 0),
        (13, "strict", 13, 1, 0),
    ],
)
def test_ties_in_fcc(neighbors, ties, degree, truncated, isolated):
    graphs = graph(FCC, neighbors=neighbors, ties=ties)
    assert len(graphs.source) == degree
    assert (graphs.truncated[0], graphs.isolated[0], graphs.short[0]) == (truncated, isolated, 0)


@pytest.mark.parametrize(("ties", "degree", "truncated"), [("keep", 18, 0), ("cut", 6, 8), ("strict", 12, 8)])
def test_ties_in_rock_salt(ties, degree, truncated):
    graphs = graph(ROCK_SALT, ties=ties)
    assert np.bincount(graphs.target).tolist() == [degree] * 8
    assert graphs.truncated.tolist() == [truncated]


def test_a_shell_split_by_noise_below_the_tolerance_stays_whole():
    lattice, numbers, frac = ROCK_SALT
    noise = np.random.default_rng(0).uniform(-1, 1, (8, 3)) * 1e-4
    assert np.bincount(graph((lattice, numbers, np.array(frac) + noise)).target).tolist() == [18] * 8


def test_one_atom_in_a_cell_smaller_than_the_radius():
    a = 2.5
    options = GraphOptions(radius=8, neighbors=10**6)
    graphs = build_graphs(crystals_of((a * np.eye(3), [84], [[0.3, 0.4, 0.5]])), options)
    inside = sum(
        0 < x * x + y * y + z * z <= (8 / a) ** 2 for x in range(-4, 5) for y in range(-4, 5) for z in range(-4, 5)
    )
    assert len(graphs.source) == inside
    assert graphs.short.tolist() == [1]


def test_isolated_atoms_stay():
    graphs = build_graphs(crystals_of(LONELY, FCC, LONELY), GraphOptions())
    assert np.diff(graphs.node_offsets).tolist() == [1, 1, 1]
    assert np.diff(graphs.edge_offsets).tolist() == [0, 12, 0]
    assert graphs.isolated.tolist() == [1, 0, 1]
    assert graphs.short.tolist() == [1, 0, 1]


@pytest.mark.parametrize("radius", [0.3, 0.95])
def test_a_radius_below_an_angstrom(radius):
    pair = (10 * np.eye(3), [1, 1], [[0, 0, 0], [0, 0, 0.074]])
    assert len(graph(pair, radius=radius).source) == (2 if radius > 0.74 else 0)


def test_two_sites_at_one_place_are_neighbours():
    graphs = graph((4 * np.eye(3), [1, 1], [[0, 0, 0], [0, 0, 0]]), neighbors=1)
    assert [edge[:2] for edge in edges_of(graphs)] == [(0, 1), (1, 0)]
    assert graphs.distance.tolist() == [0, 0]


def test_no_crystals_and_no_sites():
    for crystals, expected in ((crystals_of(), 0), (crystals_of((np.eye(3), [], []), FCC), 2)):
        graphs = build_graphs(crystals, GraphOptions())
        assert len(graphs) == expected
    assert np.diff(graphs.edge_offsets).tolist() == [0, 12]


def test_edges_are_sorted_by_centre_then_distance():
    graphs = build_graphs(random_crystals(20), GraphOptions())
    for i in range(20):
        keys = [(edge[0], edge[3]) for edge in edges_of(graphs, i)]
        assert keys == sorted(keys)


def test_search_widened_step_by_step_finds_what_a_full_search_finds(monkeypatch):
    slab = (np.diag([3, 3, 25.0]), [6] * 3, [[0, 0, 0.1], [0.5, 0.5, 0.12], [0, 0, 0.5]])
    crystals = type(crystals_of()).concatenate([random_crystals(40), crystals_of(slab, LONELY, PAIR_IN_BOX)])
    built = {}
    for guess in (0.1, neighbors._FIRST_GUESS, 1e6):
        monkeypatch.setattr(neighbors, "_FIRST_GUESS", guess)
        built[guess] = build_graphs(crystals, GraphOptions())
    *others, full = built.values()
    for other in others:
        for i in range(len(crystals)):
            same_edges(edges_of(other, i), edges_of(full, i))
        np.testing.assert_array_equal(other.short, full.short)


def test_a_search_that_ends_inside_a_shell_is_widened(monkeypatch):
    lattice, numbers, frac = ROCK_SALT
    noisy = crystals_of((lattice, numbers, np.array(frac) + np.random.default_rng(0).uniform(-1, 1, (8, 3)) * 2e-4))
    full = build_graphs(noisy, GraphOptions())
    twelfth = np.sort(full.distance[full.target == 0])[11]
    assert twelfth < np.sort(full.distance[full.target == 0])[12]
    guess = (twelfth + 1e-6) / np.cbrt(3 / (4 * np.pi) * 12 * 5.64**3 / 8)
    monkeypatch.setattr(neighbors, "_FIRST_GUESS", guess)
    same_edges(edges_of(build_graphs(noisy, GraphOptions())), edges_of(full))


def test_a_neighbour_too_many_cells_away_is_refused():
    with pytest.raises(InputError, match=r"case-1: .* wrap the fractional coordinates"):
        build_graphs(crystals_of(FCC, (3 * np.eye(3), [1, 1], [[0, 0, 0], [200.5, 0, 0]])), GraphOptions())


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("radius", 0.0, r"--data\.graph\.radius is 0.0: expected a number above 0"),
        ("radius", float("nan"), "radius is nan: expected"),
        ("radius", float("inf"), "radius is inf: expected"),
        ("neighbors", 0, "neighbors is 0: expected a whole number of 1 or more"),
        ("ties", "drop", r"--data\.graph\.ties 'drop': .*keep, cut, strict"),
    ],
)
def test_bad_options_are_refused(option, value, message):
    with pytest.raises(InputError, match=message):
        GraphOptions(**{option: value})


def test_real_crystals_have_the_neighbours_that_pymatgen_finds(test_data):
    import pandas as pd
    from pymatgen.core import Lattice, Structure

    rows = pd.read_parquet(test_data / "mp_small_4000.parquet").sample(40, random_state=0)
    structures = [
        Structure(Lattice.from_parameters(*row.lattice_abc_angles), row.species, row.frac_coords.reshape(-1, 3))
        for row in rows.itertuples()
    ]
    crystals = crystals_of(*[(s.lattice.matrix, s.atomic_numbers, s.frac_coords) for s in structures])
    options = GraphOptions()
    graphs = build_graphs(crystals, options)
    for i, structure in enumerate(structures):
        expected = []
        for target, found in enumerate(structure.get_all_neighbors(options.radius)):
            around = [(target, n.index, tuple(int(x) for x in n.image), n.nn_distance) for n in found]
            expected += tied(sorted(around, key=lambda edge: edge[3]), options)
        same_edges(edges_of(graphs, i), expected)
