"""Crystals without a class that are trained on by their numbers: never of a group that is validated or tested on."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from matcard.data.options import DataOptions, SplitOptions
from matcard.data.read import divide, read_labelled
from matcard.errors import InputError

PAIRS = list(product(["Li", "Na", "K", "Rb", "Cs", "Ag"], ["F", "Cl", "Br", "I"]))


def row(name: str, formula: tuple[str, ...], size: float | None, kind: str | None) -> dict[str, Any]:
    structure = Structure(Lattice.cubic(size or 4.0), formula, [[0, 0, 0], [0.5, 0.5, 0.5]])
    return {"id": name, "structure": structure.as_dict(), "kind": kind, "size": size}


def written(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("\n".join(map(json.dumps, rows)))
    return str(path)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> str:
    """24 salts with a class, a twin of each without one, two of other formulas, and one without a number."""
    folder = tmp_path_factory.mktemp("source")
    salts = [row(f"c{k}", pair, 3.5 + k / 24, "odd" if k % 2 else "even") for k, pair in enumerate(PAIRS)]
    twins = [row(f"u{k}", pair, 4.0 + k / 24, None) for k, pair in enumerate(PAIRS)]
    others = [row("u24", ("Na", "N"), 4.1, None), row("u25", ("K", "O"), 4.2, None), row("u", ("K", "P"), None, None)]
    return written(folder / "salts.jsonl", [*salts, *twins, *others])


@pytest.mark.usefixtures("cache_folder")
@pytest.mark.parametrize("graphs", [True, False])
@pytest.mark.parametrize(
    "split",
    [
        SplitOptions(),
        SplitOptions(folds=3, fold=1),
        SplitOptions(kind="chemical_system"),
        SplitOptions(kind="element", element="Na"),
        SplitOptions(kind="given"),
    ],
)
def test_none_is_of_a_group_that_is_held_out(source: str, split: SplitOptions, graphs: bool, tmp_path: Path) -> None:
    given = {}
    if split.kind == "given":
        second = [row(f"t{k}", pair, 3.6, "odd" if k % 2 else "even") for k, pair in enumerate(PAIRS[:4])]
        second += [row("tu", ("Cs", "N"), 4.0, None)]
        given["test_source"] = written(tmp_path / "test.jsonl", second)
    options = DataOptions(
        source=source, target="kind", auxiliary=["size"], unlabelled="learn", jobs=1, split=split, descriptors="volume",
        **given,
    )  # fmt: skip
    samples = read_labelled(options)
    found = divide(samples, options, seed=0, graphs=graphs)
    held = {*found.split.val.tolist(), *found.split.test.tolist()}
    formula = {name: set(samples.inputs.structure(k).symbol_set) for k, name in enumerate(samples.ids)}
    refused = [formula[found.samples.ids[k]] for k in held]
    expected = [f"u{k}" for k in range(26) if formula[f"u{k}"] not in refused]
    if split.kind == "element":
        expected = [name for name in expected if "Na" not in formula[name]]
        assert "u24" not in expected
    more = found.unlabelled
    assert more.samples.ids[more.chosen].tolist() == expected
    assert samples.ids[more.rows[more.chosen]].tolist() == expected
    assert 5 < len(expected) < 26
    sizes = {f"u{k}": size for k, size in enumerate([*(4.0 + np.arange(24) / 24), 4.1, 4.2])}
    np.testing.assert_allclose(more.numbers[more.chosen, 0], [sizes[name] for name in expected])
    batch = more.dataset.__getitems__([0, 2])
    assert batch.descriptors.shape == (2, 1)
    assert hasattr(batch, "edge_index") == graphs


@pytest.mark.usefixtures("cache_folder")
def test_a_word_is_told_where_it_counts(source: str, tmp_path: Path) -> None:
    rows = [json.loads(line) for line in Path(source).read_text(encoding="utf-8").splitlines()]
    rows[30]["size"] = "large"
    options = DataOptions(
        source=written(tmp_path / "salts.jsonl", rows), target="kind", auxiliary=["size"], unlabelled="learn", jobs=1
    )
    with pytest.raises(InputError, match=r"--data\.auxiliary size: 1 of 27 .* 'large' in salts\.jsonl line 31;"):
        divide(read_labelled(options), options, seed=0)
    rows[30]["structure"] = None  # what cannot be used stops nothing
    written(tmp_path / "salts.jsonl", rows)
    assert len(divide(read_labelled(options), options, seed=0).unlabelled.rows) == 25
