"""Options of the models. Each default and each text stands here once: validation, help and docs read it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from matcard.errors import InputError


@dataclass(frozen=True)
class ModelOptions:
    """What every model takes.

    Raises:
        InputError: when a value is out of range, or `freeze` is set with nothing to start from.
    """

    takes: ClassVar[tuple[str, ...]] = ()
    """Kinds of data (`DataOptions.kind`) that the model fits."""

    name: str
    """Kind of model."""
    init_from: str | None = None
    """Weights to start from: a checkpoint of the original CGCNN project, a .ckpt or .safetensors file of this
    one, or a run directory (its best epoch)."""
    freeze: bool = False
    """Keep the encoder as `init_from` gives it, batch statistics included, and train a new head only."""

    def __post_init__(self) -> None:
        if self.freeze and self.init_from is None:
            raise InputError("--model.freeze keeps an encoder as it was trained: say which with --model.init_from FILE")

    def _at_least(self, least: int, *names: str) -> None:
        for name in names:
            if getattr(self, name) < least:
                raise InputError(f"--model.{name} is {getattr(self, name)}: expected {least} or more")

    def _check_dropout(self, dropout: float) -> None:
        if not 0 <= dropout < 1:
            raise InputError(f"--model.dropout is {dropout}: expected a number in [0, 1)")


@dataclass(frozen=True)
class CrystalModelOptions(ModelOptions):
    """What every network on crystal graphs takes."""

    takes: ClassVar[tuple[str, ...]] = ("crystals",)

    atom_features: Literal["cgcnn", "learned"] = "cgcnn"
    """What is known of an atom at first: the original's 92 numbers of its element, or an embedding by atomic
    number, learned from scratch."""
    width: int = 64
    """Numbers an atom carries from layer to layer."""
    convolutions: int = 3
    """Number of convolutions."""
    hidden: int = 128
    """Width of the layers after pooling, so of the graph embedding."""
    hidden_layers: int = 1
    """Number of layers after pooling, the head not counted."""
    dmin: float = 0.0
    """Distance of the first Gaussian, in angstrom."""
    dmax: float = 8.0
    """Distance of the last Gaussian, in angstrom; edges longer than that by some `var` say nothing."""
    step: float = 0.2
    """Distance from one Gaussian to the next, in angstrom."""
    var: float | None = None
    """Width of a Gaussian, exp(-(d - centre)^2 / var^2), in angstrom; `step` where it is not given."""
    dropout: float = 0.5
    """Share of the embedding's numbers that are dropped before the head in training, as the original classifier
    does; with more than one hidden layer, after the first."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.atom_features not in ("cgcnn", "learned"):
            raise InputError(f"--model.atom_features is {self.atom_features!r}: expected cgcnn or learned")
        self._at_least(1, "width", "hidden", "hidden_layers", "convolutions")
        self._check_dropout(self.dropout)
        if self.step <= 0 or self.dmax <= self.dmin:
            raise InputError(
                f"--model.dmin {self.dmin}, --model.dmax {self.dmax}, --model.step {self.step}: expected "
                "dmin < dmax and a step above 0"
            )
        if self.var is not None and self.var <= 0:
            raise InputError(f"--model.var is {self.var}: expected a number above 0")


@dataclass(frozen=True)
class CGCNNOptions(CrystalModelOptions):
    """The crystal graph convolutional network of Xie and Grossman, Phys. Rev. Lett. 120, 145301 (2018)."""

    name: str = "cgcnn"
    """Kind of model."""


@dataclass(frozen=True)
class TransformerOptions(CrystalModelOptions):
    """CGCNN's frame with attention over neighbours (Shi et al., IJCAI 2021) in place of its convolution."""

    name: str = "transformer"
    """Kind of model."""
    heads: int = 4
    """Attention heads; they share `width`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._at_least(1, "heads")
        if self.width % self.heads:
            raise InputError(f"--model.width {self.width} is not a multiple of --model.heads {self.heads}")


@dataclass(frozen=True)
class MLPOptions(ModelOptions):
    """Fully connected layers for table rows and compositions, or for images without regard to their shape."""

    takes: ClassVar[tuple[str, ...]] = ("table", "compositions", "images")

    name: str = "mlp"
    """Kind of model."""
    hidden: int = 128
    """Width of the hidden layers, so of the embedding."""
    hidden_layers: int = 2
    """Number of hidden layers."""
    dropout: float = 0.0
    """Share of the numbers dropped after each hidden layer but the last, and before the head, in training."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._at_least(1, "hidden", "hidden_layers")
        self._check_dropout(self.dropout)


@dataclass(frozen=True)
class ResNetOptions(ModelOptions):
    """The residual network for small images of He et al. (CVPR 2016), as the long-tail literature uses it."""

    takes: ClassVar[tuple[str, ...]] = ("images",)

    name: str = "resnet"
    """Kind of model."""
    depth: int = 32
    """Number of layers with weights: 8, 14, 20, 26, 32, ... (6n + 2); 32 on CIFAR."""
    width: int = 16
    """Channels of the first stage; the embedding has four times as many numbers."""
    shortcut: Literal["A", "B"] = "A"
    """Shortcuts past a change of size: `A` fills up with zeros, as on CIFAR, `B` maps the channels."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._at_least(1, "width")
        if self.depth < 8 or (self.depth - 2) % 6:
            raise InputError(f"--model.depth is {self.depth}: expected 8, 14, 20, 26, 32 or another 6n + 2")
        if self.shortcut not in ("A", "B"):
            raise InputError(f"--model.shortcut is {self.shortcut!r}: expected A or B")


@dataclass(frozen=True)
class GlassNetOptions(ModelOptions):
    """Attention over the components of a composition, in the manner of DeepGlassNet (Chen et al. 2025)."""

    takes: ClassVar[tuple[str, ...]] = ("compositions",)

    name: str = "glassnet"
    """Kind of model."""
    width: int = 128
    """Numbers a component is described by."""
    heads: int = 4
    """Attention heads; they share `width`."""
    hidden: int = 512
    """Width of the projection, so of the embedding."""
    rank: int = 16
    """Rank of the learned adjacency of components."""
    noise: float = 0.1
    """Deviation of the noise that multiplies proportions in training."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._at_least(1, "width", "heads", "hidden", "rank")
        self._at_least(0, "noise")
        if self.width % self.heads:
            raise InputError(f"--model.width {self.width} is not a multiple of --model.heads {self.heads}")
