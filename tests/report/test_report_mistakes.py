from __future__ import annotations

import numpy as np
import pytest
from report_cases import crystals

from matcard.report.mistakes import Drawing, percent


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


def test_formulas_and_probabilities_are_written_for_people():
    assert [percent(p) for p in (0.0, 1e-5, 0.5, 0.9999, 1.0)] == ["0.0 %", "< 0.1 %", "50.0 %", "> 99.9 %", "100.0 %"]
