"""A loss from outside of the package: known by its name, tested as all others, trained by the command line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pytest
import torch
import yaml
from loss_cases import cases, softmax

from matcard import train
from matcard.errors import InputError
from matcard.losses import Loss, LossOptions, SampleLoss, build_loss, make_options
from matcard.losses.__main__ import main
from matcard.options import Share
from matcard.training.config import parse_config

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module", autouse=True)
def bounded() -> Iterator[Any]:
    """One class with its options, gone after these tests."""
    before = dict(Loss._known)

    @dataclass(frozen=True)
    class BoundedOptions(LossOptions):
        """Options of the bounded loss."""

        name: Literal["bounded", "gce"] = "bounded"
        q: Share = 0.7
        """0 is cross-entropy, towards 1 it is the mean absolute error; in [0, 1)."""
        form: Literal["power", "linear"] = "power"
        """Of the probability, or of the error."""

    class Bounded(SampleLoss[BoundedOptions]):
        """Cross-entropy that wrong labels pull at less."""

        formula = "mean (1 - p_y^q) / q"
        reference = "Zhang and Sabuncu 2018, arXiv:1805.07836"

        def per_sample(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
            """Give (1 - p_y^q) / q."""
            p = logits.softmax(1)[torch.arange(len(targets)), targets]
            return (1 - p**self.options.q) / self.options.q if self.options.form == "power" else 1 - p

    yield Bounded
    Loss._known.clear()
    Loss._known.update(before)


def test_it_computes_its_formula() -> None:
    rng = np.random.default_rng(0)
    z, y = rng.normal(size=(7, 3)), rng.integers(0, 3, 7)
    expected = np.mean([(1 - row[label] ** 0.5) / 0.5 for row, label in zip(softmax(z), y, strict=True)])
    assert build_loss("bounded", q=0.5)(torch.tensor(z), torch.tensor(y)).item() == pytest.approx(expected)


def test_the_tests_of_all_losses_take_it_up() -> None:
    assert [case for case in cases() if case[0] == "bounded"] == [("bounded", {}), ("bounded", {"form": "linear"})]


def test_its_options_are_checked_documented_and_named(capsys, bounded) -> None:
    with pytest.raises(InputError, match=r"option q of loss 'bounded' is 1\.5: expected a number in \[0, 1\)"):
        make_options("bounded", q=1.5)
    with pytest.raises(InputError, match=r"did you mean bounded\?"):
        Loss.find("bouned")
    main(["bounded"])
    shown = " ".join(capsys.readouterr().out.split())
    for words in ("bounded, gce", "mean (1 - p_y^q) / q", "1805.07836", "0 is cross-entropy", "0.7"):
        assert words in shown
    assert Loss.find("gce") is bounded
    assert make_options("gce").name == "bounded"


def test_it_is_an_option_of_the_command_line_and_a_base() -> None:
    config = parse_config(["--loss.name", "bounded", "--loss.q=0.25"], prog="", description="")
    assert config.loss == make_options("bounded", q=0.25)
    words = ["--loss.name=reweight", "--loss.base.name=bounded", "--loss.base.q=0.25"]
    assert parse_config(words, prog="", description="").loss.base == config.loss
    with pytest.raises(InputError, match=r"'--loss\.p'; .*loss\.q"):
        parse_config(["--loss.name", "bounded", "--loss.p=1"], prog="", description="")


@pytest.mark.parametrize("words", [["--loss.name=bounded", "--loss.q=0.5"], ["--loss.base.name=bounded"]])
def test_it_trains_by_the_route_of_the_command_line(words, tmp_path: Path) -> None:
    run = tmp_path / "run"
    small = ["--data.source=ten_clusters", "--data.synthetic.samples=400", "--model.hidden=8"]
    train.main([*small, *words, "--trainer.max_epochs=2", "--report=false", f"--run_dir={run}"])
    loss = yaml.safe_load((run / "config.yaml").read_text())["loss"]
    assert loss == {"name": "bounded", "q": 0.5, "form": "power"} or loss["base"]["name"] == "bounded"
    assert (run / "predictions.parquet").is_file()
