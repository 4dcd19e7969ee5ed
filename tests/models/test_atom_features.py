"""The atom features of CGCNN."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np

from matcard.models.crystal import atom_features


def test_rows_are_those_of_the_file_that_matminer_ships():
    from importlib.resources import files

    shipped = json.loads(files("matminer").joinpath("utils/data_files/cgcnn_atom_feature.json").read_text())
    table = atom_features()
    assert table.dtype == np.float32
    assert table.shape == (1 + max(map(int, shipped)), 92)
    for number, row in shipped.items():
        assert table[int(number)].tolist() == row
    assert not table[0].any()


def test_elements_are_told_apart_by_their_group():
    table = atom_features()
    lithium, sodium, chlorine = table[3], table[11], table[17]
    assert lithium @ sodium > lithium @ chlorine
    assert len(np.unique(table[1:101], axis=0)) > 90


def test_matminers_code_is_not_imported():
    code = (
        "import sys; from matcard.models.crystal import atom_features; atom_features();"
        "print('matminer.utils' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"
