"""Model files: what earlier versions wrote is still read, what is damaged or newer is refused with a reason."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from prediction_cases import crystals
from safetensors.torch import load_file

import matcard
from matcard.errors import InputError
from matcard.models import CGCNNOptions, build_model, load_weights
from matcard.models.transfer import read_safetensors
from matcard.prediction.modelfile import FORMAT_VERSION, WEIGHTS, ModelDescription, save_model

KEPT = Path(__file__).resolve().parent.parent / "data_files"


@pytest.fixture
def copy(trained, tmp_path):
    """A copy of the model folder, to be damaged."""
    return Path(shutil.copytree(trained / "model", tmp_path / "model"))


@pytest.mark.parametrize("folder", sorted(KEPT.glob("model_*")), ids=lambda path: path.name)
def test_kept_models_predict_as_they_did(folder):
    expected = pd.DataFrame(json.loads((folder / "expected.json").read_text()))
    if (folder / "inputs.csv").is_file():
        inputs = pd.read_csv(folder / "inputs.csv")
    else:
        frames = {atoms.info["id"]: atoms for atoms in crystals()}
        inputs = [frames[name] for name in expected["id"]]
    table = matcard.load_run(folder, device="cpu").predict(inputs)
    for name in ("predicted", "predicted_argmax", "applicable"):
        assert table[name].tolist() == expected[name].tolist()
    for name in expected.columns[expected.columns.str.startswith("prob_")]:
        np.testing.assert_allclose(table[name], expected[name], atol=1e-5)
    np.testing.assert_allclose(table["novelty"], expected["novelty"], atol=1e-3)


def test_a_model_of_each_kind_is_kept():
    kept = [json.loads((path / "model.json").read_text()) for path in KEPT.glob("model_*")]
    assert {said["format_version"] for said in kept} == {FORMAT_VERSION}
    assert {said["kind"]["name"] for said in kept} == {"crystals", "compositions", "table"}


def test_what_is_written_is_read(copy, tmp_path):
    description, tensors = ModelDescription.load(copy), read_safetensors(copy / WEIGHTS)
    save_model(tmp_path / "again", description, tensors)
    again, same = ModelDescription.load(tmp_path / "again"), read_safetensors(tmp_path / "again" / WEIGHTS)
    assert again == description
    assert set(same) == set(tensors)
    assert all(torch.equal(same[name], tensors[name]) for name in tensors)


def test_the_description_is_plain_json(trained):
    said = json.loads((trained / "model" / "model.json").read_text())
    assert said["format_version"] == FORMAT_VERSION
    assert said["class_names"] == ["cesiumchloride", "rocksalt", "zincblende"]
    assert said["target"] == {"column": "kind", "edges": [], "classes": []}
    assert said["kind"]["name"] == "crystals"
    assert said["kind"]["graph"]["neighbors"] == 12
    assert said["matcard_version"] == matcard.__version__
    assert sum(said["class_counts"]) == len(json.loads((trained / "split.json").read_text())["train"])
    assert set(said["components"]) <= {symbol for atoms in crystals() for symbol in atoms.symbols}


def test_the_training_part_is_listed(trained):
    said = json.loads((trained / "model" / "training.json").read_text())
    split = json.loads((trained / "split.json").read_text())
    assert sorted(said["ids"]) == sorted(split["train"])
    frames = {atoms.info["id"]: atoms for atoms in crystals()}
    composed = {frozenset(frames[name].symbols) for name in split["train"]}
    assert len(said["formulas"]) == len(composed)


@pytest.mark.parametrize("version", [1, FORMAT_VERSION + 1])
def test_another_format_is_refused(copy, version):
    said = json.loads((copy / "model.json").read_text())
    (copy / "model.json").write_text(json.dumps({**said, "format_version": version}))
    with pytest.raises(InputError, match=rf"has format {version}, .* this version reads format {FORMAT_VERSION}: "):
        matcard.load_run(copy)


@pytest.mark.parametrize("name", ["class_names", "decision", "calibration", "kind", "novelty_limit"])
def test_a_description_with_something_missing(copy, name):
    said = json.loads((copy / "model.json").read_text())
    del said[name]
    (copy / "model.json").write_text(json.dumps(said))
    with pytest.raises(InputError, match=rf"model\.json is damaged \(KeyError: '{name}'\)"):
        matcard.load_run(copy)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format_version": "one"}', "null"])
def test_a_description_that_is_none(copy, text):
    (copy / "model.json").write_text(text)
    with pytest.raises(InputError, match=r"model\.json (is not a JSON file|describes no model)"):
        matcard.load_run(copy)


def test_weights_that_are_cut_off_or_missing(copy):
    whole = (copy / "model.safetensors").read_bytes()
    (copy / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="cannot be read as safetensors"):
        matcard.load_run(copy)
    (copy / "model.safetensors").unlink()
    with pytest.raises(InputError, match="no such file of weights"):
        matcard.load_run(copy)


def test_weights_of_another_width(copy):
    said = json.loads((copy / "model.json").read_text())
    said["model"]["width"] = 16
    (copy / "model.json").write_text(json.dumps(said))
    with pytest.raises(InputError, match="weights and description do not fit"):
        matcard.load_run(copy)


def test_an_option_that_is_not_known(copy):
    said = json.loads((copy / "model.json").read_text())
    said["model"]["moons"] = 3
    (copy / "model.json").write_text(json.dumps(said))
    with pytest.raises(InputError, match="options of the model that this version does not know"):
        matcard.load_run(copy)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"kind": {"name": "molecules"}}, "KeyError: 'molecules'"),
        ({"kind": {"name": "crystals"}}, "KeyError: 'graph'"),
        ({"kind": {"name": "crystals", "graph": {"moons": 3}}}, "TypeError: .*'moons'"),
        ({"kind": {"name": "crystals", "graph": 3}}, "TypeError: .*mapping"),
    ],
)
def test_inputs_that_are_not_known(copy, changed, words):
    said = json.loads((copy / "model.json").read_text())
    (copy / "model.json").write_text(json.dumps({**said, **changed}))
    with pytest.raises(
        InputError, match=rf"model\.json: inputs or options of the model that this version does not know \({words}"
    ):
        matcard.load_run(copy)


def test_weights_without_the_reference(copy):
    from safetensors.torch import save_file

    tensors = load_file(copy / "model.safetensors")
    del tensors["reference.embeddings"]
    save_file(tensors, copy / "model.safetensors")
    with pytest.raises(InputError, match=r"lack reference\.embeddings"):
        matcard.load_run(copy)


@pytest.mark.parametrize("what", ["", "model", "model/model.safetensors", "checkpoints/best.ckpt"])
def test_a_new_run_starts_from_any_of_them(trained, what):
    options = CGCNNOptions(
        width=8, hidden=8, convolutions=1, dropout=0, atom_features="learned", init_from=str(trained / what)
    )
    model = build_model(options, num_classes=3)
    load_weights(model, Path(options.init_from), new_head=options.freeze)
    saved = load_file(trained / "model" / "model.safetensors")
    for name, value in model.state_dict().items():
        assert torch.equal(value, saved[f"model.{name}"]), name


def test_a_folder_without_weights(tmp_path):
    options = CGCNNOptions(init_from=str(tmp_path))
    with pytest.raises(InputError, match="no weights here"):
        load_weights(build_model(options, num_classes=2), Path(options.init_from))
