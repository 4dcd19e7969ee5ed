"""Starting from saved weights, frozen or not, for every model."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import pytest
import torch
from model_cases import random_batch, randomize, small, small_transformer
from safetensors.torch import save_file
from torch_geometric.data import Data

from matcard.errors import InputError
from matcard.models import MLPOptions, build_model, load_weights

OPTIONS = {"cgcnn": small, "transformer": small_transformer, "mlp": lambda **options: MLPOptions(hidden=6, **options)}


@pytest.fixture(params=OPTIONS)
def kind(request):
    return request.param


def made(kind, num_classes=2, **options):
    data = {"input_shape": (4,)} if kind == "mlp" else {}
    return build_model(OPTIONS[kind](**options), num_classes=num_classes, **data)


def batch_for(kind):
    return Data(x=torch.randn(9, 4)) if kind == "mlp" else random_batch()


def as_run(model, folder):
    """A run directory whose best checkpoint is as Lightning writes it."""
    (folder / "checkpoints").mkdir(parents=True)
    state = {f"model.{name}": value for name, value in model.state_dict().items()}
    path = folder / "checkpoints" / "best.ckpt"
    torch.save({"state_dict": state | {"centroids.means": torch.zeros(2)}, "epoch": 3, "hyper_parameters": {}}, path)
    return path


@pytest.mark.parametrize("form", ["run", "ckpt", "safetensors", "state"])
def test_every_form_of_file(kind, form, tmp_path):
    torch.manual_seed(0)
    source = made(kind)
    randomize(source)
    path = as_run(source, tmp_path / "run")
    if form == "run":
        path = tmp_path / "run"
    elif form == "safetensors":
        path = tmp_path / "weights.safetensors"
        save_file(source.state_dict(), path)
    elif form == "state":
        path = tmp_path / "weights.pt"
        torch.save(source.state_dict(), path)
    model = made(kind, init_from=str(path))
    report = load_weights(model, path)
    assert report.startswith(f"{len(source.state_dict())} weights from {path}")
    assert report.endswith(", none new")
    batch = batch_for(kind)
    torch.testing.assert_close(model.eval()(batch), source.eval()(batch))


def test_other_classes_give_a_new_head(kind, tmp_path):
    source, model = made(kind), made(kind, num_classes=5)
    head = model.fc_out.weight.detach().clone()
    report = load_weights(model, as_run(source, tmp_path))
    assert report.endswith("new: fc_out.weight, fc_out.bias; not used: fc_out.bias, fc_out.weight")
    assert torch.equal(model.fc_out.weight, head)
    batch = batch_for(kind)
    torch.testing.assert_close(model.eval()(batch).embedding, source.eval()(batch).embedding)


def test_freezing_trains_a_new_head_and_nothing_else(kind, tmp_path):
    torch.manual_seed(0)
    source = made(kind)
    randomize(source)
    options = OPTIONS[kind](init_from=str(as_run(source, tmp_path).parent.parent), freeze=True)
    model = build_model(options, num_classes=2, **({"input_shape": (4,)} if kind == "mlp" else {}))
    report = load_weights(model, Path(options.init_from), new_head=options.freeze)
    assert "new: fc_out.weight, fc_out.bias;" in report
    assert not torch.equal(model.fc_out.weight, source.fc_out.weight)

    model.train()
    assert model.training
    assert model.fc_out.training
    for name, module in model.named_modules():
        assert module.training == (name in ("", "fc_out")), name
    before = deepcopy(model.state_dict())
    optimizer = torch.optim.SGD([w for w in model.parameters() if w.requires_grad], lr=0.1)
    batch = batch_for(kind)
    for _ in range(3):
        model(batch).logits[:, 0].exp().sum().backward()
        optimizer.step()
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"fc_out.weight", "fc_out.bias"}
    torch.testing.assert_close(model(batch).embedding, source.eval()(batch).embedding)
    model.eval().train(True)
    assert not any(module.training for name, module in model.named_modules() if name not in ("", "fc_out"))


def test_freezing_is_not_undone_by_a_copy(kind):
    model = made(kind)
    model.freeze()
    twin = deepcopy(model).train()
    assert [w.requires_grad for w in twin.parameters()] == [w.requires_grad for w in model.parameters()]
    assert not any(module.training for name, module in twin.named_modules() if name not in ("", "fc_out"))


def test_freeze_needs_something_to_start_from(kind):
    with pytest.raises(InputError, match=r"--model\.init_from"):
        OPTIONS[kind](freeze=True)


@pytest.mark.parametrize(
    ("there", "said"),
    [
        ({"width": 8}, r"shapes .*embedding.weight \(8, 92\) in the file and \(6, 92\) here"),
        ({"convolutions": 3}, r"foreign (convs|norms)\.2\."),
        ({"hidden": 12}, r"shapes .*conv_to_fc.weight \(12, 6\) in the file and \(10, 6\) here"),
        ({"hidden_layers": 3}, r"foreign fcs\.0\.weight"),
        ({"atom_features": "learned"}, r"missing embedding\.bias"),
    ],
)
@pytest.mark.parametrize("make", [small, small_transformer])
def test_other_widths_are_told_by_what_differs(tmp_path, there, said, make):
    path = as_run(build_model(make(**there), num_classes=2), tmp_path)
    model = build_model(make(), num_classes=2)
    before = deepcopy(model.state_dict())
    with pytest.raises(InputError, match=rf"do not fit this \w+ \(.*{said}.*build the model as it was trained"):
        load_weights(model, path)
    torch.testing.assert_close(model.state_dict(), before)
    load_weights(build_model(make(**there), num_classes=2), path)


def test_another_basis_is_told(tmp_path):
    path = as_run(build_model(small(dmax=6.0), num_classes=2), tmp_path)
    with pytest.raises(InputError, match=r"convs\.0\.fc_full\.weight \(12, 43\) in the file and \(12, 53\) here"):
        load_weights(build_model(small(), num_classes=2), path)


def test_another_model_is_told(tmp_path):
    path = as_run(build_model(small(), num_classes=2), tmp_path)
    with pytest.raises(InputError, match="do not fit this CrystalTransformer"):
        load_weights(build_model(small_transformer(), num_classes=2), path)
    with pytest.raises(InputError, match=r"do not fit this MLP.*another kind of model, which --model\.name chooses"):
        load_weights(build_model(MLPOptions(), num_classes=2, input_shape=(3,)), path)


def test_files_that_are_no_weights(tmp_path):
    model = build_model(small(), num_classes=2)
    with pytest.raises(InputError, match="no weights here"):
        load_weights(model, tmp_path)
    with pytest.raises(InputError, match="no such file"):
        load_weights(model, tmp_path / "weights.safetensors")
    (tmp_path / "weights.safetensors").write_bytes(b"\x00" * 20)
    with pytest.raises(InputError, match="cannot be read as safetensors"):
        load_weights(model, tmp_path / "weights.safetensors")
    torch.save({"state_dict": {"a": 1}}, tmp_path / "odd.ckpt")
    with pytest.raises(InputError, match="expected weights"):
        load_weights(model, tmp_path / "odd.ckpt")
    torch.save([1], tmp_path / "odd.ckpt")
    with pytest.raises(InputError, match="expected weights"):
        load_weights(model, tmp_path / "odd.ckpt")


def test_a_checkpoint_that_lightning_wrote(tmp_path):
    import lightning
    from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint

    class Module(lightning.LightningModule):
        def __init__(self, model):
            super().__init__()
            self.model = model

        def training_step(self, batch, index):
            loss = self.model(batch).logits.square().mean()
            self.log("loss", loss, batch_size=5)
            return loss

        def configure_optimizers(self):
            optimizer = torch.optim.AdamW(self.parameters())
            return [optimizer], [torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.01, total_steps=4)]

    model = build_model(small(), num_classes=2)
    checkpoints = ModelCheckpoint(tmp_path / "checkpoints", filename="best", monitor="loss")
    trainer = lightning.Trainer(
        max_epochs=2,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[checkpoints, EarlyStopping("loss")],
    )
    batches = [random_batch(seed=seed) for seed in (1, 2)]
    trainer.fit(Module(model), torch.utils.data.DataLoader(batches, batch_size=None, collate_fn=lambda b: b))
    other = build_model(small(), num_classes=2)
    report = load_weights(other, tmp_path)
    assert report.endswith(f" weights from {tmp_path / 'checkpoints' / 'best.ckpt'}, none new")
