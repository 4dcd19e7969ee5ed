"""A loaded run: the same numbers as at the end of training, whatever kind of object it is given."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from prediction_cases import crystals, structure, train_small

import matcard
from matcard.errors import InputError, MatcardWarning
from matcard.evaluation.decision import Decision
from matcard.models.base import Output
from matcard.prediction.network import Network, Scores
from matcard.prediction.predictor import columns
from matcard.training.config import config_from_dict


@pytest.fixture(scope="module")
def run(trained):
    return matcard.load_run(trained, device="cpu")


def test_it_predicts_what_the_run_predicted(run, trained):
    frames = crystals()
    table = run.predict(frames, ids=[atoms.info["id"] for atoms in frames]).set_index("id")
    saved = pd.read_parquet(trained / "predictions.parquet").set_index("id").loc[table.index]
    probabilities = [f"prob_{name}" for name in run.class_names]
    np.testing.assert_allclose(table[probabilities], saved[probabilities], atol=2e-5)
    assert table["predicted_argmax"].tolist() == saved["predicted"].tolist()
    assert table["predicted"].tolist() == saved["predicted_at_decision"].tolist()
    assert table["predicted"].tolist() != table["predicted_argmax"].tolist()  # else this run shows nothing
    assert table["error"].isna().all()


class OnApple(torch.Tensor):
    """A tensor of a device that has no float64."""

    def double(self):
        raise TypeError("the MPS framework doesn't support float64")

    def cpu(self):
        return self.as_subclass(torch.Tensor)


def test_probabilities_need_no_float64_of_the_device():
    logits = torch.tensor([[0.0, 1.0, 3.0], [2.0, 2.0, -1.0]])
    expected = torch.softmax(logits.double(), dim=1).numpy()
    here = logits.as_subclass(OnApple)
    batch = SimpleNamespace(index=torch.arange(2), y=torch.zeros(2))
    network = Network(lambda batch: Output(here, torch.zeros(2, 4)), None)
    probabilities = Scores.of(network, batch).probabilities
    assert probabilities.dtype == np.float64
    np.testing.assert_array_equal(probabilities, expected)


def test_columns_are_as_documented(run):
    table = run.predict(crystals()[:3])
    assert {name: str(kind) for name, kind in table.dtypes.items()} == columns(run.class_names)
    assert table["id"].tolist() == ["0", "1", "2"]
    assert table["source"].tolist() == ["structures[0]", "structures[1]", "structures[2]"]
    np.testing.assert_allclose(table.filter(like="prob_").sum(axis=1), 1.0)


def test_pymatgen_and_ase_objects_may_be_mixed(run):
    frames = crystals()[:6]
    mixed = [structure(atoms) if k % 2 else atoms for k, atoms in enumerate(frames)]
    pd.testing.assert_frame_equal(run.predict(mixed), run.predict(frames), atol=1e-6, check_exact=False)
    pd.testing.assert_frame_equal(run.predict(frames[0]), run.predict(frames[:1]))
    pd.testing.assert_frame_equal(run.predict(structure(frames[0])), run.predict([frames[0]]), atol=1e-6)


def test_batches_do_not_matter(run):
    frames = crystals()[:10]
    pd.testing.assert_frame_equal(run.predict(frames, batch_size=3), run.predict(frames), atol=1e-5)


def test_what_cannot_be_used_keeps_its_place(run):
    frames = crystals()[:5]
    frames[1] = frames[1].copy()
    frames[1].positions[:] = 0.0
    frames[3].pbc = (True, True, False)
    table = run.predict(frames, ids=list("abcde"))
    assert table["id"].tolist() == list("abcde")
    assert table["error"].notna().tolist() == [False, True, False, True, False]
    assert "overlap" in table["error"][1]
    assert "periodic in TTF" in table["error"][3]
    assert table.loc[[1, 3], ["predicted", "prob_rocksalt", "applicable", "novelty"]].isna().all(axis=None)
    whole = run.predict([frames[k] for k in (0, 2, 4)])
    np.testing.assert_allclose(table.loc[[0, 2, 4], "prob_rocksalt"], whole["prob_rocksalt"], atol=1e-6)


def test_all_may_be_unusable(run):
    atoms = crystals()[0]
    atoms.positions[:] = 0.0
    table = run.predict([atoms])
    assert table["error"].notna().all()
    assert {name: str(kind) for name, kind in table.dtypes.items()} == columns(run.class_names)


def test_embeddings_are_those_of_training(run, trained):
    saved = np.load(trained / "embeddings.npz")
    frames = {atoms.info["id"]: atoms for atoms in crystals()}
    embeddings = run.embed([frames[name] for name in saved["id"]])
    np.testing.assert_allclose(embeddings, saved["embedding"], atol=1e-5)
    assert embeddings.dtype == np.float32
    assert int(saved["total"]) == len(saved["id"]) == 60
    assert set(saved["split"]) == {"train", "val", "test"}
    split = json.loads((trained / "split.json").read_text())
    assert set(saved["id"][saved["split"] == "val"]) == set(split["val"])


def test_an_embedding_that_there_is_not_is_nan(run):
    frames = crystals()[:3]
    frames[1].positions[:] = 0.0
    with pytest.warns(MatcardWarning, match=r"1 of 3 crystals .* structures\[1\]: site 1 and site 2 overlap"):
        embeddings = run.embed(frames)
    assert np.isnan(embeddings).any(axis=1).tolist() == [False, True, False]


def test_calibration_changes_probabilities_and_no_class(run):
    frames = crystals()
    raw, calibrated = run.predict(frames), run.predict(frames, calibrated=True)
    probabilities = [f"prob_{name}" for name in run.class_names]
    expected = run.description.calibration.apply(raw[probabilities].to_numpy())
    np.testing.assert_allclose(calibrated[probabilities], expected, atol=1e-12)
    assert not np.allclose(calibrated[probabilities], raw[probabilities])
    same = [name for name in raw if name not in probabilities]
    pd.testing.assert_frame_equal(raw[same], calibrated[same])


@pytest.mark.parametrize("wrong", [[None], [3.0], [{"lattice": 1}]])
def test_other_objects_are_refused(run, wrong):
    with pytest.raises(InputError, match=r"structures\[0\] is a .*: a pymatgen Structure, an ase.Atoms or the path"):
        run.predict(wrong)


def test_paths_stand_among_objects(run, tmp_path):
    frames = crystals()[:2]
    frames[1].write(tmp_path / "one.cif")
    table = run.predict([frames[0], tmp_path / "one.cif", str(tmp_path / "absent.cif")])
    assert table["source"].tolist()[1] == f"structures[1] ({tmp_path / 'one.cif'})"
    assert table["error"].notna().tolist() == [False, False, True]
    probabilities = [f"prob_{name}" for name in run.class_names]
    np.testing.assert_allclose(table[probabilities][:2], run.predict(frames)[probabilities], atol=1e-4)


def test_ids_are_as_many_as_structures(run):
    with pytest.raises(InputError, match="2 structures, 1 ids"):
        run.predict(crystals()[:2], ids=["a"])
    with pytest.raises(InputError, match="0 structures"):
        run.predict([])
    with pytest.raises(InputError, match="a list of structures was expected"):
        run.predict(None)


def test_it_knows_its_options_and_classes(run, trained):
    assert run.class_names == ("cesiumchloride", "rocksalt", "zincblende")
    config = config_from_dict(run.description.config)
    assert config.model.width == 8
    assert config.data.target == "kind"
    assert run.description.decision == Decision.load(trained / "decision.json")


def test_the_model_folder_is_enough_wherever_it_is(run, trained, tmp_path):
    shutil.copytree(trained / "model", tmp_path / "shared")
    moved = matcard.load_run(tmp_path / "shared", device="cpu")
    pd.testing.assert_frame_equal(moved.predict(crystals()[:4]), run.predict(crystals()[:4]))


def test_nothing_is_unpickled(trained, monkeypatch):
    def refuse(*_args, **_more):
        raise AssertionError("unpickled")

    monkeypatch.setattr(torch, "load", refuse)
    monkeypatch.setattr("pickle.load", refuse)
    monkeypatch.setattr("pickle.loads", refuse)
    matcard.load_run(trained, device="cpu").predict(crystals()[:1])


def test_the_run_of_a_loss_without_head(source, tmp_path):
    path = train_small(source, tmp_path / "headless", "--loss.name=triplet",
                       "--loss.combine=divide", seed=0)  # fmt: skip
    run = matcard.load_run(path, device="cpu")
    assert run.members[0].network.centroids is not None
    table = run.predict(crystals())
    saved = pd.read_parquet(path / "predictions.parquet").set_index("id").loc[[f"c{k}" for k in range(60)]]
    np.testing.assert_allclose(table["prob_rocksalt"], saved["prob_rocksalt"], atol=2e-5)


def test_directories_that_are_no_finished_run(tmp_path):
    with pytest.raises(InputError, match="is no directory"):
        matcard.load_run(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"neither config\.yaml nor"):
        matcard.load_run(tmp_path)
    (tmp_path / "config.yaml").write_text("{}")
    with pytest.raises(InputError, match=r"not finished: go on with it by .*--resume"):
        matcard.load_run(tmp_path)
    (tmp_path / "test_metrics.json").write_text("{}")
    with pytest.raises(InputError, match=r"has no model folder: .* train the run again by"):
        matcard.load_run(tmp_path)


def test_a_device_that_is_not_there(trained):
    with pytest.raises(InputError, match="--device cuda:77: not to be had"):
        matcard.load_run(trained, device="cuda:77")
    with pytest.raises(InputError, match="--device gpu: not to be had"):
        matcard.load_run(trained, device="gpu")


def test_importing_matcard_loads_no_torch():
    code = "import sys, matcard; print('torch' in sys.modules, 'load_run' in dir(matcard))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).split() == ["False", "True"]
