"""A model from outside of the package: known by its name, trained by the command line, read again for predictions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import pytest
import torch
import yaml
from torch import nn

from matcard import train
from matcard.errors import InputError
from matcard.models import Classifier, ModelOptions
from matcard.models.base import ArrayModel
from matcard.options import AtLeastOne
from matcard.prediction.predictor import load_run
from matcard.training.config import parse_config

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module", autouse=True)
def gated() -> Iterator[Any]:
    """One class with its options, gone after these tests."""
    before = dict(Classifier._known)

    @dataclass(frozen=True)
    class GatedOptions(ModelOptions):
        """Options of one gated layer."""

        takes: ClassVar[tuple[str, ...]] = ("table",)

        name: Literal["gated"] = "gated"
        features: AtLeastOne = 16
        """Width of the layer, so of the embedding."""

    class Gated(ArrayModel[GatedOptions]):
        """A linear layer times a sigmoid of another."""

        def __init__(self, options: GatedOptions, num_classes: int, input_shape: Any, **scale: Any) -> None:
            super().__init__(input_shape, **scale)
            self.value, self.gate = (nn.Linear(input_shape[0], options.features) for _ in range(2))
            self.fc_out = nn.Linear(options.features, num_classes)

        def encode(self, batch: Any) -> torch.Tensor:
            """Give the embedding of each sample."""
            x = self.standardised(batch)
            return self.value(x) * self.gate(x).sigmoid()

    yield Gated
    Classifier._known.clear()
    Classifier._known.update(before)


def test_its_options_are_those_of_the_command_line(gated) -> None:
    config = parse_config(["--model.name", "gated", "--model.features=5"], prog="", description="")
    assert config.model == gated.options_class(features=5)
    with pytest.raises(InputError, match="features of model 'gated' is 0"):
        gated.options_class(features=0)
    with pytest.raises(InputError, match=r"did you mean gated"):
        Classifier.find("gatd")


def test_it_trains_and_predicts_by_the_route_of_the_command_line(gated, tmp_path: Path) -> None:
    run = tmp_path / "run"
    small = ["--data.source=ten_clusters", "--data.synthetic.samples=400", "--trainer.max_epochs=2", "--report=false"]
    train.main([*small, "--model.name=gated", "--model.features=8", f"--run_dir={run}"])
    assert yaml.safe_load((run / "config.yaml").read_text())["model"]["features"] == 8
    network = load_run(run, device="cpu").members[0].network.model
    assert type(network) is gated
    assert network.fc_out.in_features == 8


def test_data_that_it_does_not_take_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="gated"):
        train.main(["--data.source=digits", "--model.name=gated", f"--run_dir={tmp_path / 'run'}"])
