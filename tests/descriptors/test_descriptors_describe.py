"""Which descriptors there are, those that need no network, and several side by side."""

from __future__ import annotations

import sys
from importlib import import_module, util
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from descriptor_cases import IRON, SALT, crystals_of, random_crystal

from matcard.crystals.crystals import reduced_formulas
from matcard.descriptors import describe as module
from matcard.descriptors.describe import (
    Part,
    check_columns,
    check_without_source,
    describe,
    find_descriptors,
    separating_columns,
)
from matcard.descriptors.simple import magpie_features
from matcard.errors import InputError, MatcardWarning

COLUMNS = pd.DataFrame({"a": [1.0, 2.0, np.nan], "b": ["4", "x", "6"], "c": [7, 8, 9]})
CRYSTALS = crystals_of(SALT, IRON, random_crystal(0), columns=COLUMNS)


def names(text: str) -> list[str]:
    return [each.name for each in find_descriptors(text)]


def test_texts() -> None:
    assert names("none") == []
    assert names("magpie") == ["magpie"]
    assert names(" magpie , file:/some/features.parquet ") == ["magpie", "file:/some/features.parquet"]
    assert names("file:some/x.csv,file:~/y.csv") == [f"file:{Path.cwd()}/some/x.csv", f"file:{Path.home()}/y.csv"]
    assert names("magpie,columns:a,b, c") == ["magpie", "columns:a,b,c"]
    assert names("columns:magpie") == ["columns:magpie"]


@pytest.mark.parametrize("text", ["", ",", "magpie,magpie", "none,magpie", "columns:", "file:", "chgnett"])
def test_texts_that_are_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"none, or different names|there is no descriptor"):
        find_descriptors(text)


def test_a_wrong_name_gets_those_that_are_near() -> None:
    with pytest.raises(InputError, match=r"no descriptor 'magpi'; did you mean magpie"):
        find_descriptors("magpi")


@pytest.mark.parametrize(
    ("python", "advice"),
    [((3, 11), r"install it in .* pip install -e '\.\[chgnet\]'"), ((3, 13), "3.11 or 3.12, as it has no wheel")],
)
def test_without_chgnet(monkeypatch: pytest.MonkeyPatch, python: tuple[int, int], advice: str) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    monkeypatch.setattr(sys, "version_info", python)
    for name in ("chgnet", "chgnet_random"):
        with pytest.raises(InputError, match=rf"--data.descriptors {name} needs the package chgnet; .*{advice}"):
            find_descriptors(name)


def test_a_broken_chgnet_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> None:
        raise OSError("libcudart.so: cannot open shared object file")

    monkeypatch.setattr(module, "find_spec", lambda name: object())
    monkeypatch.setattr(module, "import_module", broken)
    said = r"descriptors chgnet: the package chgnet is installed and cannot be used \(OSError: libcudart.*pip uninstall"
    with pytest.raises(InputError, match=said):
        find_descriptors("magpie,chgnet")


@pytest.mark.skipif(util.find_spec("chgnet") is None, reason="chgnet is not installed (the extra matcard[chgnet])")
def test_chgnet_by_name(tmp_path: Path) -> None:
    found = describe(find_descriptors("chgnet,magpie"), CRYSTALS, tmp_path)
    assert [(part.name, part.width) for part in found.parts] == [("chgnet", 384), ("magpie", 132)]
    expected = import_module("matcard.descriptors.chgnet").CHGNetNumbers().compute(CRYSTALS).values
    np.testing.assert_allclose(found.values[:, :384], expected, rtol=1e-5, atol=1e-5)
    again = describe(find_descriptors("chgnet"), CRYSTALS, tmp_path)
    np.testing.assert_array_equal(again.values, found.values[:, :384])


def test_magpie(tmp_path: Path) -> None:
    found = describe(find_descriptors("magpie"), CRYSTALS, tmp_path)
    np.testing.assert_array_equal(found.values, magpie_features(reduced_formulas(CRYSTALS)).to_numpy(np.float32))
    assert found.parts[0].version.startswith("matminer ")
    assert found.reasons.tolist() == [None] * 3
    assert list(tmp_path.iterdir()) == []


def test_columns(tmp_path: Path) -> None:
    found = describe(find_descriptors("columns:c,a,b"), CRYSTALS, tmp_path)
    assert found.values[0].tolist() == [7, 1, 4]
    assert np.isnan(found.values[1:]).all()
    assert found.reasons.tolist() == [
        None,
        "no numbers of --data.descriptors columns:c,a,b: row 2 of the source has no number in column 'b'",
        "no numbers of --data.descriptors columns:c,a,b: row 3 of the source has no number in column 'a'",
    ]
    with pytest.raises(InputError, match=r"columns:c,d: the source has no column 'd'; .*there are: a, b, c"):
        describe(find_descriptors("columns:c,d"), CRYSTALS, tmp_path)


def test_volume(tmp_path: Path) -> None:
    found = describe(find_descriptors("volume"), CRYSTALS, tmp_path)
    expected = [CRYSTALS.structure(i).volume / len(CRYSTALS.structure(i)) for i in range(3)]
    np.testing.assert_allclose(found.values[:, 0], expected, rtol=1e-6)


def test_the_target_is_no_descriptor() -> None:
    check_columns(find_descriptors("magpie,columns:a,b"), {"inside", "gap", None})
    for telling in ("gap", "inside"):
        with pytest.raises(InputError, match=rf"columns:a,{telling}: '{telling}' is the column that is to be pre"):
            check_columns(find_descriptors(f"magpie,columns:a,{telling}"), {"inside", "gap"})


def test_objects_of_python_have_nothing_to_look_up() -> None:
    check_without_source("magpie,volume")
    for text in ("volume,columns:a", "file:a.csv"):
        with pytest.raises(InputError, match=r"have neither columns nor ids to look numbers up by"):
            check_without_source(text)


def test_columns_that_separate_the_classes(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    codes = generator.integers(0, 3, 300)
    values = generator.normal(size=(300, 5)).astype(np.float32)
    values[:, 2] += 100 * (codes == 1)
    values[:, 3] -= 100 * (codes == 2)
    values[:, 4] += 2 * codes
    values[:, 0] = codes
    parts = (Part("other", "1", 1), Part("columns:a,b,c,d", "", 4))
    assert separating_columns(parts, values, codes) == ["b", "c"]
    assert separating_columns(parts, values, np.zeros(300, int)) == []
    path = tmp_path / "features.csv"
    pd.DataFrame({"a": [1], "id": ["x"], "b": [2], "c": [3], "d": [4]}).to_csv(path, index=False)
    parts = (Part("other", "1", 1), Part(f"file:{path}", "", 4))
    assert separating_columns(parts, values, codes) == ["b", "c"]


@pytest.mark.parametrize("ending", ["parquet", "csv"])
def test_a_file(tmp_path: Path, ending: str) -> None:
    table = pd.DataFrame({"x": [1.5, np.nan, 3.0], "id": ["c1", "c2", "other"], "y": [4, 5, 6]})
    path = tmp_path / f"features.{ending}"
    table.to_parquet(path) if ending == "parquet" else table.to_csv(path, index=False)
    with pytest.warns(MatcardWarning, match=r"no row with the ids of 1 of 3 crystals, 'c0'; add them"):
        found = describe(find_descriptors(f"file:{path}"), CRYSTALS, tmp_path)
    assert found.values[1].tolist() == [1.5, 4]
    assert found.reasons[0].endswith(f"{path} has no row with the id 'c0'; add one")
    assert found.reasons[1] is None
    assert found.reasons[2].endswith(f"{path} has no number in one of: x")


def test_ids_of_digits_and_an_index_of_ids(tmp_path: Path) -> None:
    path = tmp_path / "features.csv"
    path.write_text("id,x\n001,5\n01,6\n")
    ids = np.array(["01", "001"], dtype=object)
    crystals = crystals_of(SALT, IRON)
    object.__setattr__(crystals, "ids", ids)
    assert describe(find_descriptors(f"file:{path}"), crystals, tmp_path).values[:, 0].tolist() == [6, 5]
    by_index = tmp_path / "indexed.parquet"
    pd.DataFrame({"x": [1.0, 2.0]}, index=pd.Index([7, 8], name="id")).to_parquet(by_index)
    object.__setattr__(crystals, "ids", np.array(["8", "7"], dtype=object))
    assert describe(find_descriptors(f"file:{by_index}"), crystals, tmp_path).values[:, 0].tolist() == [2, 1]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("x,y\n1,2\n", "has no column 'id'"),
        ("id\nc0\n", "has no column beside 'id'"),
        ("id,x\nc0,1\nc0,2\n", "has the id 'c0' twice"),
        ("id,x,y\nc0,1,NaCl\nc1,2,Fe\n", "has no number in column 'y'"),
        ("", "cannot be read"),
        (None, "cannot be read"),
    ],
)
def test_files_that_are_refused(tmp_path: Path, content: str | None, said: str) -> None:
    path = tmp_path / "features.csv"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match=said) as error:
        describe(find_descriptors(f"file:{path}"), CRYSTALS, tmp_path)
    assert str(path) in str(error.value)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package as pip installs it, which brings four descriptors."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "theirs.py").write_text(
        "def density(structures):\n"
        "    return [[s.density, len(s) if len(s) < 6 else float('nan')] for s in structures]\n"
        "def flat(structures):\n    return [0.0 for _ in structures]\n"
        "def broken(structures):\n    raise KeyError('no such radius')\n"
    )
    info = tmp_path / "site" / "theirs-2.5.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 2.5\n")
    (info / "entry_points.txt").write_text(
        "[matcard.descriptors]\ndense = theirs:density\nflat = theirs:flat\nbroken = theirs:broken\n"
        "gone = theirs:gone\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    return tmp_path / "cache"


def test_a_package_brings_its_own(package: Path) -> None:
    found = describe(find_descriptors("magpie,dense"), CRYSTALS, package)
    assert [(part.name, part.version, part.width) for part in found.parts[1:]] == [("dense", "theirs 2.5", 2)]
    assert found.values[0, 132] == pytest.approx(CRYSTALS.structure(0).density)
    assert found.values[:2, 133].tolist() == [2, 2]
    assert found.reasons[2] == "no numbers of --data.descriptors dense: dense gave no numbers for it"
    assert len(list(package.glob("*/*.npz"))) == 1
    nothing = CRYSTALS.take([0]).with_faults(np.array(["no sites"], dtype=object))
    assert describe(find_descriptors("dense"), nothing, package / "other").reasons.tolist() == ["no sites"]
    with pytest.raises(InputError, match=r"no descriptor 'dens'; did you mean dense"):
        find_descriptors("dens")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("flat", r"gave numbers of shape \(3,\) for 3 structures; expected \(3, F\)"),
        ("broken", "failed: KeyError: 'no such radius'"),
        ("gone", "failed: AttributeError"),
    ],
)
def test_a_package_that_fails_is_named(package: Path, name: str, said: str) -> None:
    with pytest.raises(InputError, match=rf"{name} \(theirs 2\.5, theirs:{name}\) {said}"):
        describe(find_descriptors(name), CRYSTALS, package)


def test_rows_at_fault_keep_their_fault(tmp_path: Path) -> None:
    rows = CRYSTALS.with_faults(np.array(["no sites", None, None], dtype=object))
    for text in ("magpie", "density,volume"):
        found = describe(find_descriptors(text), rows, tmp_path)
        assert found.reasons.tolist() == ["no sites", None, None]
        assert np.isfinite(found.values).all(axis=1).tolist() == [False, True, True]
        none = describe(find_descriptors(text), rows.take([0]), tmp_path)
        assert none.values.shape == (1, found.values.shape[1])
        assert np.isnan(none.values).all()
