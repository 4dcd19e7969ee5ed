"""Families of crystals that repeat one another, and the methods that are compared on them."""

from __future__ import annotations

import importlib
from argparse import Namespace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from ase import Atoms
from ase.data import chemical_symbols
from pymatgen.core.periodic_table import Element
from scipy import stats

from matcard.crystals.crystals import reduced_formulas
from matcard.crystals.read import from_objects
from matcard.training.config import parse_config

ROOT = Path(__file__).parents[2]
SALT = Atoms("NaCl", scaled_positions=[(0, 0, 0), (0.5, 0.5, 0.5)], cell=[3.0, 3.1, 3.2], pbc=True)


@pytest.fixture
def scripts(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return Namespace(**{name: importlib.import_module(name) for name in ("families", "redundant", "redundant_tables")})


def test_a_walk_goes_away_from_its_parent_by_small_steps(scripts):
    places = [SALT, *scripts.families.walk(SALT, 200, np.random.default_rng(0))]
    steps = [np.abs(after.positions - before.positions).max() for before, after in pairwise(places)]
    assert all((place.numbers == SALT.numbers).all() for place in places)
    assert max(steps) < 0.3
    assert np.linalg.norm(places[-1].positions - SALT.positions) > 3 * np.linalg.norm(
        places[1].positions - SALT.positions
    )
    shorter = scripts.families.walk(SALT, 5, np.random.default_rng(0))
    assert all(np.array_equal(a.positions, b.positions) for a, b in zip(shorter, places[1:], strict=False))


def test_neighbours_stand_in_one_group(scripts):
    for element, others in scripts.families.NEIGHBORS.items():
        groups = {Element.from_Z(z).group for z in (element, *others)}
        assert len(groups) == 1, chemical_symbols[element]


def test_a_series_replaces_one_site_and_has_no_known_formula(scripts):
    every = scripts.families.series(SALT, 40, set(), np.random.default_rng(0))
    assert len(every) == 40
    for atoms in every:
        cells = len(atoms) // 2
        foreign = [z for z in atoms.numbers.tolist() if z not in (11, 17)]
        replaced = 11 if np.sum(atoms.numbers == 11) < cells else 17
        assert 2 <= cells <= 8
        assert len(foreign) == 1
        assert foreign[0] in scripts.families.NEIGHBORS[replaced]
    formulas = set(reduced_formulas(from_objects(every)).tolist())
    assert len(formulas) == 28, "7 sizes, Li, K, F and Br"
    known = {"NaKCl2"} | {formula for formula in formulas if "Br" in formula}
    rest = scripts.families.series(SALT, 40, known, np.random.default_rng(0))
    assert set(reduced_formulas(from_objects(rest)).tolist()) == formulas - known
    assert scripts.families.series(SALT, 3, formulas, np.random.default_rng(0)) == []
    assert scripts.families.series(Atoms("H", cell=[2, 2, 2], pbc=True), 3, set(), np.random.default_rng(0)) == []


def test_structure_matcher_finds_copies_and_keeps_what_is_far(scripts):
    near, far, other = SALT.copy(), SALT.copy(), SALT.copy()
    near.positions[0] += 0.01
    far.positions[0] += (0.45, 0.5, 0)
    other.numbers[0] = 19
    found = scripts.families.repeats(SALT, [near, far, far, other])
    assert found[0].all()
    assert found[1].tolist() == [False, False, True, True], "about .12 of the length of a site from its parent"
    assert found[2].all(), "as the one before it, or the parent"
    assert not found[3].any()


@pytest.fixture
def source(tmp_path, monkeypatch, scripts):
    """A table of salts with gaps, for which a few numbers by place and element stand in for CHGNet's and Magpie's."""
    monkeypatch.setenv("MATCARD_CACHE", str(tmp_path / "cache"))

    def numbers(crystals, name):
        rows = []
        for k in range(len(crystals)):
            atoms = crystals.atoms(k)
            rows.append([*np.sort(atoms.numbers)[:2], len(atoms), *np.sort(atoms.cell.lengths()), atoms.get_volume()])
        return np.array(rows, np.float32)

    for module in (scripts.families, scripts.redundant):
        monkeypatch.setattr(module, "numbers_of", numbers)
    monkeypatch.setattr(scripts.redundant, "POOL", 0.5)
    monkeypatch.setattr(scripts.redundant, "FAMILIES", 0.2)
    rows = []
    for metal in ("Li", "Na", "K", "Rb", "Cs", "Mg", "Ca", "Sr", "Ba", "Zn", "Cd"):
        for halogen in ("F", "Cl", "Br", "I"):
            # The heavier, the narrower; numbers that vary let every class be found in every part.
            gap = 5 - 0.04 * (Element(metal).Z + Element(halogen).Z) + 0.001 * len(rows)
            rows.append(
                (f"{metal}{halogen}", gap, [4.0, 4.1, 4.2, 90, 90, 90], [metal, halogen], [0, 0, 0, 0.5, 0.5, 0.5])
            )
    table = pd.DataFrame(rows, columns=["material_id", "gap", "lattice_abc_angles", "species", "frac_coords"])
    table.to_parquet(tmp_path / "salts.parquet")
    return tmp_path / "salts.parquet"


def test_every_method_is_trained_once_and_compared(scripts, source, tmp_path, monkeypatch, capsys):
    argv = ["--config", "descriptors", "--data.kind", "crystals", "--value.weight", "0", "--trainer.max_epochs", "2"]
    config = parse_config([*argv, "--model.hidden", "4"], prog="redundant", description="")
    redundant, results = scripts.redundant, tmp_path / "results.parquet"
    methods, tasks = list(redundant.METHODS), ["gap >= 3 eV"]
    options = Namespace(tasks=tasks, members=[4], seed=0, seeds=2, methods=methods, results=results, data=str(source))
    redundant.run(options, config)
    table = pd.read_parquet(results)
    assert len(table) == 2 * 4 * 2 * len(redundant.METHODS), "seeds, trials and kinds of validation"
    assert table.select_dtypes("number").notna().all().all()
    assert table.groupby(["seed", "method", "setting"])["average_precision"].nunique().eq(1).all(), (
        "one training of each"
    )
    text = scripts.redundant_tables.tables(table)
    assert all(f"| {method} |" in text for method in redundant.METHODS)
    scripts.redundant_tables.draw(table, tmp_path / "figure.svg")
    assert (tmp_path / "figure.svg").stat().st_size

    # One that is missing is made up for, and nothing else.
    table[table["method"] != "spread"].to_parquet(results)
    done, trial = [], redundant.trial
    monkeypatch.setattr(redundant, "trial", lambda *given: done.append(given[:2]) or trial(*given))
    redundant.run(options, config)
    assert done == 2 * [("spread", scale) for scale in redundant.SCALES]
    again = pd.read_parquet(results)
    key = ["seed", "method", "setting", "validation"]
    before, after = (each.set_index(key).sort_index().drop(columns="seconds") for each in (table, again))
    pd.testing.assert_frame_equal(before, after)


def test_families_stay_together_and_only_parents_are_tested(scripts, source):
    redundant = scripts.redundant
    samples = redundant.read_labelled(
        redundant.DataOptions(source=str(source), target="gap", threshold=3.0, kind="crystals")
    )
    pool = scripts.families.make_pool(samples.inputs, 4, 0.5)
    numbers = np.zeros((len(samples), pool.chgnet.shape[1]), np.float32)
    cell = redundant.make_cell(samples, numbers, numbers, pool, 3, lambda: np.zeros((len(pool.parent), 4), bool))
    parents = np.concatenate([np.arange(cell.real), pool.parent])
    parts = [cell.train, cell.val["repeated"], cell.test]
    for k, part in enumerate(parts):
        assert not np.isin(parents[part], np.concatenate([parents[p] for p in parts[:k] + parts[k + 1 :]])).any()
    assert (cell.test < cell.real).all()
    assert (cell.val["clean"] < cell.real).all()
    assert set(cell.val["clean"]) < set(cell.val["repeated"])
    assert (cell.codes == cell.codes[parents]).all()
    drawn = np.unique(pool.parent[np.concatenate(parts[:2])[np.concatenate(parts[:2]) >= cell.real] - cell.real])
    assert (np.bincount(cell.codes[drawn]) <= np.round(0.2 * np.bincount(samples.codes))).all()
    for method, setting in (
        ("drop equal formulas", 0.001),
        ("drop near copies", 0.1),
        (scripts.redundant_tables.BOUND, 0.1),
    ):
        kept = redundant.kept_by(method, setting, cell)
        assert set(cell.originals) >= set(kept[kept < cell.real])
        assert len(kept) < len(cell.train)


def test_the_comparison_takes_the_best_on_validation_and_pairs_seeds(scripts):
    rng, rows = np.random.default_rng(0), []
    for seed in range(6):
        for method in ("plain", "other"):
            for setting in "ab":
                scores = dict(
                    zip(("val_average_precision", "average_precision", "macro_f1_decision"), rng.random(3), strict=True)
                )
                rows.append({"task": "t", "members": 3, "seed": seed, "method": method, "setting": setting, "sets": "x",
                             "validation": "clean", "test_to_train": 0.2, **scores})  # fmt: skip
    table = pd.DataFrame(rows)
    of = {(method, seed): group for (method, seed), group in table.groupby(["method", "seed"])}
    best = {key: group.sort_values("val_average_precision")["average_precision"].iloc[-1] for key, group in of.items()}
    found = scripts.redundant_tables.compared(table).set_index(["method", "metric"]).loc[("other", "average_precision")]
    apart = np.array([best["other", seed] - best["plain", seed] for seed in range(6)])
    assert found["difference"] == pytest.approx(apart.mean())
    half = stats.t.ppf(0.975, 5) * apart.std(ddof=1)
    assert found["seeds_high"] == pytest.approx(apart.mean() + half * np.sqrt(1 / 6))
    assert found["high"] == pytest.approx(apart.mean() + half * np.sqrt(1 / 6 + 0.2))
    assert found["rank"] == pytest.approx(np.mean(np.where(apart > 0, 1, 2)))


def test_the_page_shows_what_the_results_say(scripts):
    page = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
    table = scripts.redundant.read(ROOT / "benchmarks" / "results" / "crystals-redundant.parquet")
    paragraphs = scripts.redundant_tables.tables(table).split("\n\n")
    shown = [pair for pair in pairwise(paragraphs) if " members**: " in pair[0]]
    assert {title.split(",")[0].strip("*") for title, _ in shown} == set(scripts.redundant.TASKS)
    assert all(text in page for pair in shown for text in pair)
