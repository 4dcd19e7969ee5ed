from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from markupsafe import Markup
from pymatgen.core import Element
from pymatgen.symmetry.groups import SpaceGroup

from matcard.crystals.crystals import Crystals
from matcard.crystals.table import CrystalTable
from matcard.errors import InputError
from matcard.evaluation.statistics import wilson
from matcard.evaluation.style import new_figure, save_figure
from matcard.files import to_json
from matcard.report import embeddings
from matcard.report import html as pieces
from matcard.report.__main__ import main as report_command
from matcard.report.chemistry import crystal_systems, element_shares, group_shares, position, site_bins, system_of
from matcard.report.mistakes import Drawing, percent, subscripts
from matcard.report.page import FigureFolder
from matcard.report.run import write_report
from matcard.report.study import write_study_report
from matcard.report.summary import loss_text
from matcard.report.training import best_epoch
from matcard.study.folder import StudyDir


def crystals(*lattices, numbers=(11, 17), frac=((0, 0, 0), (0.5, 0.5, 0.5))):
    n, s = len(lattices), len(numbers)
    return Crystals(
        np.array([f"c{i}" for i in range(n)], dtype=object), np.array(lattices, dtype=float), np.arange(n + 1) * s,
        np.tile(np.array(numbers, dtype=np.uint8), n), np.tile(np.array(frac, dtype=float), (n, 1)),
    )  # fmt: skip


def test_elements_stand_where_pymatgen_has_them():
    for number in [*range(1, 57), *range(72, 89)]:
        element = Element.from_Z(number)
        assert position(number) == (element.group - 1, element.row - 1), element
    places = [position(number) for number in range(1, 104)]
    assert len(set(places)) == 103
    assert all(row > 6.5 for _, row in (position(number) for number in [*range(57, 72), *range(89, 104)]))


@pytest.mark.parametrize("number", [1, 2, 3, 15, 16, 74, 75, 142, 143, 167, 168, 194, 195, 230])
def test_crystal_systems_are_those_of_the_tables(number):
    assert system_of(number) == SpaceGroup.from_int_number(number).crystal_system


def test_crystal_systems_from_structures_or_from_a_column():
    cells = crystals(np.diag([4, 4, 4]), np.diag([4, 4, 5]), np.diag([4, 5, 6]))
    table = CrystalTable(cells, pd.DataFrame({"x": range(3)}), pd.DataFrame())
    systems, source = crystal_systems(table)
    assert systems.tolist() == ["cubic", "tetragonal", "orthorhombic"]
    assert "spglib" in source
    named = CrystalTable(cells, pd.DataFrame({"crystal_system": ["Cubic", "weird", None]}), pd.DataFrame())
    assert crystal_systems(named)[0].tolist() == ["cubic", "", ""]


def test_shares_of_groups_and_elements():
    table = group_shares(
        np.array(["a", "b", "a", "a"], dtype=object), np.array([True, False, False, True]), ["b", "a", "c"]
    )
    assert table[["group", "n", "found"]].to_numpy().tolist() == [["b", 1, 0], ["a", 3, 2], ["c", 0, 0]]
    expected = wilson(2, 3)
    assert table.loc[1, ["recall", "low", "high"]].tolist() == pytest.approx(
        [expected[key] for key in ("value", "low", "high")]
    )
    assert np.isnan(table.loc[2, "recall"])
    both = crystals(np.eye(3) * 4, np.eye(3) * 4, numbers=(11, 11), frac=((0, 0, 0), (0.5, 0.5, 0.5)))
    shares = element_shares(both, np.array([True, False]))
    assert shares[["element", "n", "found"]].to_numpy().tolist() == [["Na", 2, 1]]  # once a crystal, not once a site


def test_bins_of_sites_hold_what_they_say():
    few, order = site_bins(np.array([5, 10, 5, 20]))
    assert (few.tolist(), order) == (["5", "10", "5", "20"], ["5", "10", "20"])
    numbers = np.array([1, 2, 3, 4, 5, 8, 9, 12, 13, 500])
    many, order = site_bins(numbers)
    assert order == ["1–2", "3–4", "5–8", "9–12", "13–20", "161 or more"]
    for number, name in zip(numbers.tolist(), many, strict=True):
        low, _, high = name.replace(" or more", "–1000000").partition("–")
        assert int(low) <= number <= int(high)


def test_atoms_on_faces_are_repeated_and_nothing_is_bent():
    lattice = np.array([[4.0, 0, 0], [1.0, 3.5, 0], [0.5, 0.3, 5.0]])
    drawing = Drawing(crystals(lattice, frac=((0, 0, 0), (0.5, 0.5, 1.0))), 0)
    assert (drawing.numbers == 11).sum() == 8
    assert (drawing.numbers == 17).sum() == 2
    # Distances are those of the lattice, and the edges its lengths.
    steps = drawing.frac_coords[:, None] - drawing.frac_coords[None]
    expected = np.linalg.norm(steps @ lattice, axis=-1)
    found = np.linalg.norm(drawing.positions[:, None] - drawing.positions[None], axis=-1)
    assert found == pytest.approx(expected)
    lengths = np.linalg.norm(np.diff(drawing.edges, axis=1)[:, 0], axis=-1)
    assert sorted(lengths) == pytest.approx(sorted(np.repeat(np.linalg.norm(lattice, axis=1), 4)))
    live = drawing.live()
    assert live["elements"]["Cl"]["colour"] == "rgb(31,240,31)"
    assert np.linalg.det(lattice) > 0
    origin, *_ = drawing.positions[(drawing.frac_coords == 0).all(axis=1)]
    axes = [drawing.positions[(drawing.frac_coords == unit).all(axis=1)][0] - origin for unit in np.eye(3)]
    assert np.linalg.det(axes) == pytest.approx(np.linalg.det(lattice))  # no mirror image


def test_projection_keeps_distances_of_a_plane(tmp_path):
    rng = np.random.default_rng(0)
    plane, _ = np.linalg.qr(rng.normal(size=(6, 2)))
    flat = rng.normal(size=(30, 2))
    points, names = embeddings.project(flat @ plane.T + 3, "pca", 0)
    distances = [np.linalg.norm(x[:, None] - x[None], axis=-1) for x in (points, flat)]
    assert distances[0] == pytest.approx(distances[1])
    assert "100%" not in names[1]
    with pytest.raises(InputError, match="three"):
        embeddings.project(flat[:2], "pca", 0)


def test_umap_is_asked_for_so_many_neighbours_as_there_are(monkeypatch):
    asked = []

    class Umap:
        def __init__(self, **options):
            asked.append(options)

        def fit_transform(self, embeddings):
            return embeddings[:, :2] * 2

    monkeypatch.setitem(sys.modules, "umap", SimpleNamespace(UMAP=Umap, __spec__=True))
    values = np.arange(24.0).reshape(8, 3)
    points, axes = embeddings.project(values, "umap", 5)
    np.testing.assert_array_equal(points, values[:, :2] * 2)
    assert axes == ("UMAP 1", "UMAP 2")
    assert asked == [{"n_neighbors": 7, "random_state": 5, "n_jobs": 1}]


def test_umap_without_its_package_leaves_the_old_report(tmp_path, monkeypatch):
    monkeypatch.setattr(embeddings, "find_spec", lambda name: None)
    (tmp_path / "report.html").write_text("old")
    with pytest.raises(InputError, match="pip install umap-learn"):
        write_report(tmp_path, projection="umap")
    assert (tmp_path / "report.html").read_text() == "old"


def test_layers_part_all_points():
    targets = np.repeat(np.arange(9), np.arange(1, 10))
    layers = embeddings.class_layers(targets, [f"c{c}" for c in range(9)])
    assert [layer.label for layer in layers] == ["c8", "c7", "c6", "c5", "c4", "c3", "other classes (3)"]
    assert sorted(np.concatenate([layer.members for layer in layers])) == list(range(45))
    right, rare = targets % 2 == 0, targets < 3
    parted = embeddings.mistake_layers(right, rare)
    assert sorted(np.concatenate([layer.members for layer in parted])) == list(range(45))
    assert targets[parted[2].members].tolist() == [1, 1]


def test_magnitude_grows_from_one_to_the_number_of_points():
    rng = np.random.default_rng(0)
    targets = np.repeat([0, 1, 2], [40, 15, 4])
    table = embeddings.magnitude_table(rng.normal(size=(59, 5)), targets, ["a", "b", "c"], seed=0)
    for name, n in (("a", 40), ("b", 15), ("c", 4)):
        rows = table[table["class"] == name]
        assert (np.diff(rows["magnitude"]) > -1e-9).all()
        assert rows["magnitude"].iloc[-1] == pytest.approx(n, rel=1e-3)
        assert 1 <= rows["magnitude"].iloc[0] < 1 + 0.2 * n
    assert (table["equal_crystals"] == 15).all()
    assert table.loc[table["class"] == "c", "equal_magnitude"].isna().all()
    assert table.loc[table["class"] == "a", "equal_magnitude"].iloc[-1] == pytest.approx(15, rel=1e-3)


def test_pieces_of_html_escape_and_round():
    assert (
        pieces.table(("<h>",), [("<x>", 1)], caption="<c>").count("&lt;") == 4
    )  # the caption stands in the label, too
    assert pieces.paragraph(Markup("<b>b</b>")) == "<p><b>b</b></p>"
    assert pieces.listed(["a", "b", "c"]) == "a, b and c"
    assert pieces.listed(list("abcdefgh"), 3) == "a, b and 6 more"
    assert (pieces.score(None), pieces.score(0.0), pieces.share(0.125)) == ("–", "0.000", "12 %")
    assert pieces.interval(-0.06, 0.03) == "−0.06 to 0.03"
    assert pieces.interval(None, 0.03) == "–"
    assert [pieces.signed(x) for x in (-0.0614, 0.0, float("nan"), None)] == ["−0.061", "+0.000", "–", "–"]
    assert subscripts("Fe2(SO4)3<") == "Fe<sub>2</sub>(SO<sub>4</sub>)<sub>3</sub>&lt;"
    assert [percent(p) for p in (0.0, 1e-5, 0.5, 0.9999, 1.0)] == ["0.0 %", "< 0.1 %", "50.0 %", "> 99.9 %", "100.0 %"]


def test_the_kept_epoch_is_the_first_best():
    scores, losses = (
        [{"epoch": str(k), f"val_{name}": str(value)} for k, value in enumerate(values)]
        for name, values in (("macro_f1", [0.1, "nan", 0.3, 0.3]), ("log_loss", [0.5, 0.2, 0.4]))
    )
    assert best_epoch(scores, "macro_f1") == (3, 0.3)
    assert best_epoch(losses, "log_loss") == (2, 0.2)
    epoch, value = best_epoch(scores[1:2], "macro_f1")
    assert epoch == 2
    assert np.isnan(value)


def test_report_of_a_study(tmp_path):
    with pytest.raises(InputError, match=r"trials\.parquet"):
        write_study_report(tmp_path)
    trials = pd.DataFrame(
        {"number": [0, 1, 2], "state": ["complete", "fail", "complete"], "failure": [None, "<loss> is NaN", None],
         "defaults": [True, False, False], "seconds": [60.0, 5.0, 70.0], "macro_f1": [0.5, np.nan, 0.625],
         "loss.scale": [1.0, 30.0, 3.25], "val_macro_f1": [0.5, np.nan, 0.625]}
    )  # fmt: skip
    trials.to_parquet(tmp_path / "trials.parquet")
    (tmp_path / "study.yaml").write_text("space: {loss.scale: {low: 0.1, high: 30}}")
    (tmp_path / "best.yaml").write_text("model: {name: cgcnn}\nloss: {scale: 3.25, name: spread}\nname: x")
    (tmp_path / "figures").mkdir()
    save_figure(new_figure(2, 1), tmp_path / "figures" / "history.png")
    text = write_study_report(tmp_path).read_text(encoding="utf-8")
    for said in (
        "0.625, of trial 2",
        "&lt;loss&gt; is NaN",
        "data:image/png;base64,",
        "0 (defaults)",
        "was not compared",
        "Nothing was trained at full length",
    ):
        assert said in text
    assert "2 finished, 1 failed" in text
    assert f"--study {tmp_path} --retrain 5" in text
    assert "--loss.scale" in text
    assert "--loss.name" not in text
    assert "Plotly" not in text


def test_gains_of_a_study_have_signs(tmp_path):
    pd.DataFrame({"number": [0], "state": ["complete"], "failure": [None], "defaults": [True], "seconds": [1.0],
                  "macro_f1": [0.5]}).to_parquet(tmp_path / "trials.parquet")  # fmt: skip
    (tmp_path / "study.yaml").write_text("space: {loss.scale: {low: 0.1, high: 30}}")
    gain = {"defaults": 0.5, "best": 0.625, "gain": {"value": 0.125, "low": -0.0012, "high": 0.25}}
    to_json({"interval": "bootstrap", "metrics": {"macro_f1": gain, "mcc": {**gain, "gain": None}}},
            StudyDir(tmp_path).comparison)  # fmt: skip
    text = write_study_report(tmp_path).read_text(encoding="utf-8")
    assert "<td class=number>+0.125</td><td class=number>−0.001 to +0.250</td>" in text
    assert "<td class=number>–</td><td class=number>–</td>" in text


def test_pictures_without_data_are_linked_without(tmp_path):
    save_figure(new_figure(2, 1), tmp_path / "a.png")
    assert "CSV" not in FigureFolder(tmp_path).picture("a", alt="<", caption=">")


def test_a_loss_is_named_with_its_scale():
    of_class = {"name": "spread", "space": "class-embedding", "combine": "reweight"}
    assert loss_text({**of_class, "scale": 3.0}) == "spread (class-embedding, reweight, scale 3)"
    assert loss_text({**of_class, "scale": 2.718281828459045}) == "spread (class-embedding, reweight, scale 2.71828)"
    assert loss_text({**of_class, "scale": "median"}) == "spread (class-embedding, reweight, scale median)"
    assert loss_text({"name": "cross_entropy"}) == "cross entropy"


def test_options_of_runs_are_refused_for_a_study(tmp_path):
    (tmp_path / "study.yaml").write_text("")
    for option in (["--baseline", "x"], ["--map", "umap"]):
        with pytest.raises(InputError, match="is a study: --baseline and --map are for runs"):
            report_command([str(tmp_path), *option])
