"""The whole way, by the commands alone: a card, a cut-off download, graphs, a network, a study, predictions."""

from __future__ import annotations

import gzip
import json
from itertools import product

import numpy as np
import pandas as pd
import pytest
import yaml
from bad_server import Answer
from card_cases import sha256
from pymatgen.core import Lattice, Structure

from matcard.data.__main__ import main as data
from matcard.data.card import load_card
from matcard.errors import InputError
from matcard.predict import main as predict
from matcard.train import main as train
from matcard.tune import main as tune

NAME = "ionic_gaps"
CUT = 131_072  # whole pieces of 64 kB
ROOMY = {"Na": 4.7, "K": 5.3, "Rb": 5.6, "Li": 4.1, "Mg": 4.2, "Ca": 4.8, "Sr": 5.2, "Ba": 5.5}


def crystals():
    """Wide gaps in rock salt, narrow ones in the structure of caesium chloride, and copies of other sizes."""
    corners = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    for (metal, a), anion, wide, copy in product(ROOMY.items(), ("F", "Cl", "Br", "I"), (True, False), range(3)):
        places = corners if wide else corners[:1]
        structure = Structure(
            Lattice.cubic((a if wide else a / 1.6) + 0.02 * copy),
            [metal] * len(places) + [anion] * len(places),
            [*places, *(places + 0.5)],
        )
        yield f"{metal}{anion}-{'rocksalt' if wide else 'cscl'}-{copy}", structure, 5.0 * wide + 0.1 * copy


@pytest.fixture
def served(server, cache_folder, tmp_path, monkeypatch):
    """A card of crystals on a server that breaks off once and then continues; gives the file's content."""
    rows = [[name, gap, structure.as_dict()] for name, structure, gap in crystals()]
    held = {"index": list(range(len(rows))), "columns": ["material_id", "gap", "structure"], "data": rows}
    content = gzip.compress(json.dumps(held).encode(), compresslevel=0)
    assert len(content) > CUT + 65_536
    url = server.says("/gaps.json.gz", Answer(content[: CUT + 1000], length=len(content)), Answer(content, ranges=True))
    card = {
        "title": "Gaps of ionic crystals",
        "kind": "crystals",
        "description": "Made up.",
        "citation": "Nobody.",
        "licence": "CC0-1.0",
        "urls": [{"url": url, "size": len(content), "sha256": sha256(content)}],
        "format": "matminer",
        "id_column": "material_id",
        "structure_column": "structure",
        "target": "gap",
        "threshold": 3.0,
        "class_counts": None,
        "known_problems": ["None of it is true."],
    }
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets" / f"{NAME}.yaml").write_text(yaml.safe_dump(card))
    monkeypatch.setattr("matcard.data.card.resource_dir", lambda kind: tmp_path / kind)
    return content


def test_from_a_card_whose_download_is_cut_off_to_predictions(served, server, naps, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    data(["fetch", NAME])
    said = capsys.readouterr().out
    assert "gap < 3: 96 (50.0%)" in said
    assert "gap >= 3: 96 (50.0%)" in said
    assert server.asked == [("/gaps.json.gz", None), ("/gaps.json.gz", f"bytes={CUT}-")], "continued where it broke off"
    assert naps == [1]
    file = load_card(NAME).folder / "gaps.json.gz"
    assert sha256(file.read_bytes()) == sha256(served)

    run = tmp_path / "run"
    words = ["--data.source", NAME, "--data.jobs", "1", "--model.hidden", "16", "--trainer.max_epochs", "1"]
    words += ["--trainer.accelerator", "cpu", "--report", "false"]
    train([*words, "--run_dir", str(run)])
    assert len(list((file.parents[2] / "graphs").glob("*/"))) == 1
    split = json.loads((run / "split.json").read_text())
    parts = {part: {name.split("-")[0] for name in split[part]} for part in ("train", "val", "test")}
    assert sum(len(split[part]) for part in parts) == 192
    assert parts["train"].isdisjoint(parts["val"] | parts["test"])
    tested = pd.read_parquet(run / "predictions.parquet").query("split == 'test'")
    assert set(tested["id"]) == set(split["test"])

    words += ["--trainer.batch_size", "16", "--trainer.max_epochs", "3"]
    tune([*words, "--study", "tuned", "--trials", "2", "--jobs", "1"])
    study = tmp_path / "runs" / "studies" / "tuned"
    trials = pd.read_parquet(study / "trials.parquet")
    assert trials["state"].tolist() == ["complete", "complete"]
    best = trials.loc[trials["macro_f1"].idxmax()]
    run = tmp_path / "best"
    train(["--config", str(study / "best.yaml"), "--run_dir", str(run), "--report", "false"])
    assert yaml.safe_load((run / "config.yaml").read_text())["loss"]["scale"] == best["loss.scale"]
    assert json.loads((run / "split.json").read_text())["test"] == split["test"], "the study held the same part back"

    new = [(name, structure) for name, structure, _ in crystals() if name in split["test"]]
    for name, structure in new:
        structure.to(str(tmp_path / f"{name}.cif"), fmt="cif")
    predict([str(run), str(tmp_path / "*.cif"), "-o", str(tmp_path / "out.csv"), "--jobs", "1", "--device", "cpu"])
    table = pd.read_csv(tmp_path / "out.csv")
    assert table["id"].tolist() == sorted(name for name, _ in new)
    assert table["error"].isna().all()
    np.testing.assert_allclose(table[["prob_gap < 3", "prob_gap >= 3"]].sum(axis=1), 1.0, atol=1e-5)
    assert len(server.asked) == 2, "nothing is fetched twice"


def test_a_file_of_another_checksum_gets_nowhere(served, server, naps, tmp_path):
    server.says("/gaps.json.gz", Answer(served[:-1] + b"?"))
    with pytest.raises(InputError, match=r"its sha256 is .* was expected"):
        train(["--data.source", NAME, "--run_dir", str(tmp_path / "run")])
    assert not load_card(NAME).folder.joinpath("gaps.json.gz").exists()
