"""Options of a training run. Each default and each text stands here once: validation, help and docs read it."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

from matcard.data.options import DataOptions
from matcard.errors import InputError, nearest_names
from matcard.evaluation.decision import DecisionOptions
from matcard.graphs.neighbors import GraphOptions
from matcard.losses import LossOptions, Reweight, make_options
from matcard.models import CGCNNOptions, Classifier, ModelOptions
from matcard.options import AtLeastOne, NotNegative, Positive, Within, check_options

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


@dataclass(frozen=True)
class OptimizerOptions:
    """How the weights are updated."""

    name: Literal["adam", "adamw", "sgd"] = "adamw"
    """Update rule."""
    lr: Positive = 3e-3
    """Learning rate at its highest."""
    weight_decay: NotNegative = 1e-4
    """Weight decay: decoupled for adamw, an L2 penalty for adam and sgd."""
    momentum: Annotated[float, Within(0, 1)] = 0.9
    """Momentum of sgd; the others ignore it."""
    schedule: Literal["none", "cosine", "one-cycle", "plateau"] = "one-cycle"
    """Course of the learning rate. `plateau` divides it by 3 after 5 epochs without a better monitored metric."""

    def __post_init__(self) -> None:
        check_options(self, "--optimizer.")


BY_CLASS = ("shuffle", "square-root", "class-aware")
"""Samplers that look at classes alone; the others draw by what is distinct."""


@dataclass(frozen=True)
class TrainerOptions:
    """How long, on what, and how the best epoch is chosen."""

    max_epochs: AtLeastOne = 24
    """Epochs at most."""
    batch_size: AtLeastOne = 128
    """Samples a step and device."""
    monitor: str = "macro_f1"
    """Validation metric that chooses the best epoch and stops early; its direction is known."""
    keep: Literal["best", "last"] = "best"
    """Whose weights a run ends with: those of the best epoch, or of the last. Where the learning rate ends at 0 and the
    validation part is small, the best epoch is often the luckiest one, and the last as good or better."""
    patience: Annotated[int, Within(whole=True)] = 0
    """Epochs without a better monitored metric before training stops; 0 never stops early."""
    gradient_clip: NotNegative = 5.0
    """Largest norm of the gradient; 0 leaves it as it is."""
    accumulate: int = 1
    """Only 1: these losses are not additive, so gradients of small batches do not add up to a large one's."""
    sampler: Literal[
        "shuffle", "square-root", "class-aware", "spread", "magnitude", "density", "neighbors", "formula"
    ] = "shuffle"
    """Order of the training part: each sample once; classes drawn by the square root of their count, or equally; or
    samples drawn by what is distinct of them, so that copies do not count as often as they come: by their share of the
    spread, their weight in the magnitude (to 10,000 samples), the inverse of a Gaussian density or of the number of
    neighbours, or by 1 / the number of samples of their formula. Distances are those of the descriptors, or of Magpie
    features and the volume per atom where there are none, standardised, at unit length; of rows those of the
    standardised columns."""
    sampler_scale: Annotated[float, Within(1e-6, 1e6, "[]")] = 30.0
    """How close copies are: distances are counted in the median between samples of different formulas over this."""
    sampler_by: Literal["all", "class"] = "all"
    """Whether a sample is compared with all others, which shifts the class shares, or with those of its own class."""
    accelerator: Literal["auto", "cpu", "gpu", "mps"] = "auto"
    """What to train on."""
    devices: int | Literal["auto"] = 1
    """Number of devices of a machine; more than one trains by DDP and computes the loss on the batch of all of them."""
    num_nodes: AtLeastOne = 1
    """Number of machines, each with so many devices; torchrun or srun starts the processes."""
    precision: Literal["auto", "32-true", "bf16-mixed"] = "auto"
    """`auto` is bf16-mixed on GPUs that have it and float32 elsewhere. Losses are float64 inside either way."""
    cpu_kernel: Literal["auto", "numba", "torch"] = "auto"
    """How CGCNN works on edges on a CPU: in loops that numba compiles, or by torch's operations; the same but for
    rounding. `auto` takes numba where it is installed and the training is long enough to make up for its start."""
    deterministic: bool = False
    """Only deterministic kernels; slower on GPUs."""
    workers: Annotated[int, Within(whole=True)] = 0
    """Processes that load batches; 0 loads in the training process, which is fastest for stores in memory."""
    diagnostics: bool = False
    """Log each class's share of the gradient and the number of distinct errors, which the report draws."""

    def __post_init__(self) -> None:
        check_options(self, "--trainer.")
        if isinstance(self.devices, int) and self.devices < 1:
            raise InputError(f"--trainer.devices is {self.devices}: expected 1 or more, or auto")
        if self.accumulate != 1:
            raise InputError(
                f"--trainer.accumulate is {self.accumulate}: magnitude and spread count the distinct errors of a whole "
                "batch, so the mean over accumulated steps is not the loss of the large batch; raise "
                "--trainer.batch_size or --trainer.devices instead"
            )


@dataclass(frozen=True)
class ValueOptions:
    """How the number that classes are made of is learned beside them."""

    weight: NotNegative = 0.0
    """Weight of the error of the predicted numbers beside the loss of the classes, where classes are made of a number
    (`data.threshold`, `data.bins`, `data.window`) or `data.auxiliary` names columns; with 0 no number is predicted."""
    transform: Literal["none", "log1p"] = "none"
    """What the number behind the classes is learned as: as it is, or log(1 + x) where it spans orders of magnitude."""

    def __post_init__(self) -> None:
        check_options(self, "--value.")


@dataclass(frozen=True)
class Config:
    """Everything that decides a run; `config.yaml` of a run directory holds one, resolved."""

    data: DataOptions = field(default_factory=DataOptions)
    model: ModelOptions = field(default_factory=CGCNNOptions)
    loss: LossOptions = field(default_factory=Reweight.options_class)
    value: ValueOptions = field(default_factory=ValueOptions)
    optimizer: OptimizerOptions = field(default_factory=OptimizerOptions)
    trainer: TrainerOptions = field(default_factory=TrainerOptions)
    decision: DecisionOptions = field(default_factory=DecisionOptions)
    seed: int = 0
    """Seed of the split, the initial weights, shuffling and mining."""
    name: str = "crystals"
    """Name of the run, the first part of its directory's."""
    run_dir: str | None = None
    """Directory of the run; runs/<name>-<time> where it is not given."""
    report: bool = True
    """Write `report.html` and its figures at the end of the run; `python -m matcard.report RUN_DIR` does so later."""

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**32:
            raise InputError(f"--seed is {self.seed}: expected a whole number from 0 to {2**32 - 1}")
        if self.data.unlabelled == "learn" and not (self.data.auxiliary and self.value.weight):
            raise InputError(
                "--data.unlabelled learn needs numbers to learn: name their columns by --data.auxiliary, and give "
                "--value.weight"
            )
        if self.loss.name == "effective_number" and self.trainer.sampler not in BY_CLASS:
            raise InputError(
                f"--loss.name effective_number with --trainer.sampler {self.trainer.sampler}: both count what is "
                "distinct; take one of them"
            )


PARTS: dict[str, tuple[type[Any], Callable[[str], Any] | None]] = {
    "loss": (LossOptions, make_options),
    "model": (ModelOptions, lambda name: Classifier.find(name).options_class()),
    "optimizer": (OptimizerOptions, lambda name: OptimizerOptions(name=name)),  # type: ignore[arg-type]
    "trainer": (TrainerOptions, None),
    "decision": (DecisionOptions, lambda rule: DecisionOptions(rule=rule)),  # type: ignore[arg-type]
    "graph": (GraphOptions, None),
}
"""Parts of a training that are parameters of a classifier of scikit-learn: their options' class, what a name makes."""


def part_options(part: str, given: Any) -> Any:
    """Give the options of a part: those given, those of a name, or the defaults of `matcard.train`."""
    kind, by_name = PARTS[part]
    if given is None:
        return Config().data.graph if part == "graph" else getattr(Config(), part)
    options = by_name(given) if by_name is not None and isinstance(given, str) else given
    if not isinstance(options, kind):
        names = "its name or " * (by_name is not None)
        raise InputError(f"{part} is {given!r}: {names}an object of {kind.__name__} was expected")
    return options


def flat(prefix: str, options: Any) -> dict[str, Any]:
    """Give options by their names as parameters, those within them, too."""
    found = {}
    for option in fields(options):
        name, value = f"{prefix}__{option.name}", getattr(options, option.name)
        found[name] = value
        if is_dataclass(value):
            found |= flat(name, value)
    return found


def changed(options: Any, changes: Mapping[str, Any], prefix: str) -> Any:
    """Give options of which some are changed together; `base__gamma` is `gamma` within `base`."""
    own: dict[str, Any] = {}
    inner: dict[str, dict[str, Any]] = {}
    for name, value in changes.items():
        option, deeper, rest = name.partition("__")
        before = getattr(options, option, None)
        if option not in {known.name for known in fields(options)} or (deeper and not is_dataclass(before)):
            known = [name.removeprefix(f"{prefix}__") for name in flat(prefix, options)]
            raise InputError(f"no parameter {prefix}__{name} of {options!r}; {nearest_names(name, known)}")
        if deeper:
            inner.setdefault(option, {})[rest] = value
        else:
            own[option] = make_options(value) if isinstance(before, LossOptions) and isinstance(value, str) else value
    for option, some in inner.items():
        own[option] = changed(own.get(option, getattr(options, option)), some, f"{prefix}__{option}")
    return replace(options, **own)
