"""Options of every loss: the one source of names, defaults, ranges and documentation. Loads no torch."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import ClassVar, Literal

from matcard.errors import InputError
from matcard.losses.checks import epochs_or_share, one_of, whole, within
from matcard.losses.formulas import COMBINATIONS


@dataclass(frozen=True)
class LossOptions:
    """What the options of all losses have in common."""

    formula: ClassVar[str] = ""
    reference: ClassVar[str] = ""
    needs_counts: ClassVar[bool] = False
    per_sample: ClassVar[bool] = True

    name: str = ""
    """Name of the loss."""

    def not_read(self) -> set[str]:
        """Name the options that play no part beside the values of the others."""
        return set()


@dataclass(frozen=True)
class CrossEntropyOptions(LossOptions):
    """Options of cross-entropy."""

    formula: ClassVar[str] = "mean -log p_y"
    reference: ClassVar[str] = "label smoothing: Szegedy et al. 2016, arXiv:1512.00567"

    name: Literal["cross_entropy", "ce"] = "cross_entropy"
    """Name of the loss."""
    label_smoothing: float = 0.0
    """Share of each target spread evenly over all classes, in [0, 1)."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", "cross_entropy")
        within("label_smoothing", self.label_smoothing, 0, 1)


@dataclass(frozen=True)
class WeightedCrossEntropyOptions(LossOptions):
    """Options of cross-entropy weighted by inverse class frequency."""

    formula: ClassVar[str] = "sum w_y (-log p_y) / sum w_y, w_c = N / (C n_c)"
    reference: ClassVar[str] = "King and Zeng 2001, doi:10.1093/oxfordjournals.pan.a004868"
    needs_counts: ClassVar[bool] = True

    name: Literal["weighted_cross_entropy"] = "weighted_cross_entropy"
    """Name of the loss."""


@dataclass(frozen=True)
class ClassBalancedOptions(LossOptions):
    """Options of the class-balanced cross-entropy."""

    formula: ClassVar[str] = "mean w_y (-log p_y), w_c ~ (1 - beta) / (1 - beta^n_c), sum w_c = C"
    reference: ClassVar[str] = "Cui et al. 2019, arXiv:1901.05555"
    needs_counts: ClassVar[bool] = True

    name: Literal["class_balanced"] = "class_balanced"
    """Name of the loss."""
    beta: float = 0.999
    """0 weighs classes equally; towards 1 weights approach inverse class counts. In [0, 1)."""

    def __post_init__(self) -> None:
        within("beta", self.beta, 0, 1)


@dataclass(frozen=True)
class FocalOptions(LossOptions):
    """Options of the focal loss on softmax probabilities."""

    formula: ClassVar[str] = "mean -(1 - p_y)^gamma log p_y"
    reference: ClassVar[str] = "Lin et al. 2017, arXiv:1708.02002"

    name: Literal["focal"] = "focal"
    """Name of the loss."""
    gamma: float = 2.0
    """How strongly well-classified samples are played down; 0 is cross-entropy."""

    def __post_init__(self) -> None:
        within("gamma", self.gamma, 0)


@dataclass(frozen=True)
class LDAMOptions(LossOptions):
    """Options of the label-distribution-aware margin loss with deferred reweighting."""

    formula: ClassVar[str] = "mean CE(s (z - m_y onehot(y)), y), m_c ~ n_c^(-1/4), max m_c = max_margin"
    reference: ClassVar[str] = "Cao et al. 2019, arXiv:1906.07413"
    needs_counts: ClassVar[bool] = True

    name: Literal["ldam"] = "ldam"
    """Name of the loss."""
    max_margin: float = 0.5
    """Margin of the rarest class, in units of the logits."""
    logit_scale: float = 30.0
    """Factor on the logits; 30 suits the cosine head of the publication, a linear head wants about 1."""
    drw_start: float = 0.8
    """Share of the epochs after which samples are weighted by class-balanced weights; 1 never does."""
    beta: float = 0.9999
    """beta of the class-balanced weights, in [0, 1)."""

    def __post_init__(self) -> None:
        within("max_margin", self.max_margin, 0, ends="()")
        within("logit_scale", self.logit_scale, 0, ends="()")
        within("drw_start", self.drw_start, 0, 1, ends="[]")
        within("beta", self.beta, 0, 1)


@dataclass(frozen=True)
class BalancedSoftmaxOptions(LossOptions):
    """Options of the balanced softmax."""

    formula: ClassVar[str] = "mean CE(z + log n, y)"
    reference: ClassVar[str] = "Ren et al. 2020, arXiv:2007.10740"
    needs_counts: ClassVar[bool] = True

    name: Literal["balanced_softmax"] = "balanced_softmax"
    """Name of the loss."""


@dataclass(frozen=True)
class LogitAdjustmentOptions(LossOptions):
    """Options of the logit-adjusted cross-entropy."""

    formula: ClassVar[str] = "mean CE(z + tau log(n / sum n), y)"
    reference: ClassVar[str] = "Menon et al. 2021, arXiv:2007.07314"
    needs_counts: ClassVar[bool] = True

    name: Literal["logit_adjustment"] = "logit_adjustment"
    """Name of the loss."""
    tau: float = 1.0
    """Strength of the adjustment; 0 is cross-entropy, 1 aims at balanced error."""

    def __post_init__(self) -> None:
        within("tau", self.tau, 0)


@dataclass(frozen=True)
class BrierOptions(LossOptions):
    """Options of the Brier score, the squared error of the probabilities."""

    formula: ClassVar[str] = "sum |onehot(y) - p|^2"
    reference: ClassVar[str] = "Brier 1950, doi:10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2"

    name: Literal["brier"] = "brier"
    """Name of the loss."""
    reduction: Literal["sum", "mean"] = "sum"
    """`sum` grows with the batch, as the cardinality losses do; `mean` divides by the number of samples."""

    def __post_init__(self) -> None:
        one_of("reduction", self.reduction, ("sum", "mean"))


@dataclass(frozen=True)
class CardinalityOptions(LossOptions):
    """Options of the losses that count distinct mistakes or distinct embeddings.

    M(A) = |t(A u {0})| - 1 for a set of vectors A at scale t; the spread stands in M's place by name.
    """

    formula: ClassVar[str] = "by space and combine"
    reference: ClassVar[str] = "O'Malley 2026, arXiv:2601.04941; embedding add and class-embedding: matcard"
    per_sample: ClassVar[bool] = False

    name: Literal["magnitude", "spread"] = "magnitude"
    """Which invariant of finite metric spaces is taken."""
    space: Literal["error", "embedding", "class-embedding"] = "error"
    """What is counted: errors onehot(y) - p; embeddings; or embeddings beside their class."""
    combine: Literal["replace", "multiply", "add", "divide", "ratio", "reweight", "effective-number"] = "replace"
    """What is made of it. error: replace, multiply, add. embedding: add, divide, multiply, ratio.
    class-embedding: reweight, effective-number."""
    scale: float | str = 1.0
    """Factor t on all distances, above 0; or `median`: 1 / the median distance of each batch."""
    scale_schedule: Literal["none", "linear", "log"] = "none"
    """How the scale goes from `scale` in the first epoch to `scale_end` in the last."""
    scale_end: float | None = None
    """Scale in the last epoch, where there is a schedule."""
    p: float = 2.0
    """Distances are l_p, 1 <= p <= 2; beyond 2 the similarity matrix need not be positive definite."""
    order: float = 0.0
    """Order of the spread, in [0, inf], `.inf` being YAML's infinity; the magnitude has none."""
    reduction: Literal["none", "mean"] = "none"
    """`none`: M as published, which grows with the batch; `mean`: M divided by the number of vectors."""
    log: bool = False
    """Take log(1 + M) in place of M."""
    lambda_base: float | None = None
    """Weight of the mean base loss: in `add` (by default 1), and beside an embedding's divide, multiply or
    ratio, where it is 0 by default and a positive value trains the head jointly."""
    lambda_invariant: float = 1.0
    """Weight of the invariant's term in `add`, and of an embedding's divide, multiply or ratio."""
    form: Literal["triplet", "per-class"] = "triplet"
    """Of the embedding's `add`: M(p - a) - M(n - a) of mined triplets, or mean_c M(h_c) - M(h) by class."""
    unit_norm: bool = False
    """Divide embeddings by their norm in the per-class form; all other forms always do."""
    anchors: Literal["all", "class-aware"] = "all"
    """Anchors of triplets: each sample once, or as many draws, each class being equally likely."""
    temperature: float = 0.1
    """tau of B = mean -log sigmoid((a.p - a.n) / tau), the base of an embedding's divide and multiply."""
    reservoir: int = 256
    """Embeddings of a class kept through an epoch for `effective-number`; the most that its number can be."""
    warmup: float = 0.0
    """First epochs in which the base loss alone counts: a whole number of them, or a share of all, below 1."""
    warmup_ramp: float = 0.0
    """Epochs after these in which the invariant is blended in, linearly; a whole number, or a share below 1."""
    memory: int = 0
    """Points of the epoch's past batches, the newest, that join a batch's in `reweight` and the per-class form;
    they have no gradient. For small batches."""
    base: str = "cross_entropy"
    """Loss of single samples that is multiplied, added to, reweighted, or begun with (`warmup`): any but
    magnitude and spread."""
    base_label_smoothing: float | None = None
    """`label_smoothing` of the base; not given: its own default."""
    base_beta: float | None = None
    """`beta` of the base."""
    base_gamma: float | None = None
    """`gamma` of the base."""
    base_tau: float | None = None
    """`tau` of the base."""
    base_max_margin: float | None = None
    """`max_margin` of the base."""
    base_logit_scale: float | None = None
    """`logit_scale` of the base."""
    base_drw_start: float | None = None
    """`drw_start` of the base."""

    def __post_init__(self) -> None:
        for option, known in (
            ("name", ("magnitude", "spread")),
            ("space", tuple(COMBINATIONS)),
            ("scale_schedule", ("none", "linear", "log")),
            ("reduction", ("none", "mean")),
            ("form", ("triplet", "per-class")),
            ("anchors", ("all", "class-aware")),
            ("log", (False, True)),
            ("unit_norm", (False, True)),
        ):
            one_of(option, getattr(self, option), known)
        self._check_combination()
        self._check_scale()
        within("p", self.p, 1, 2, ends="[]")
        within("temperature", self.temperature, 0, ends="()")
        whole("reservoir", self.reservoir, 1)
        whole("memory", self.memory, 0)
        epochs_or_share("warmup", self.warmup)
        epochs_or_share("warmup_ramp", self.warmup_ramp)
        within("lambda_invariant", self.lambda_invariant, 0)
        if self.lambda_base is not None:
            within("lambda_base", self.lambda_base, 0)
        self._check_order()
        self._check_base()
        self._check_warmup()
        self._check_memory()

    @property
    def base_weight(self) -> float:
        """`lambda_base`, or what it is by default in this combination."""
        if self.lambda_base is not None:
            return self.lambda_base
        return 0.0 if self.space == "embedding" and self.combine != "add" else 1.0

    @property
    def warms_up(self) -> bool:
        """Whether training begins with the base loss."""
        return self.warmup > 0 or self.warmup_ramp > 0

    def not_read(self) -> set[str]:
        """Name the options that play no part in this combination."""
        by_class = self.combine == "add" and self.form == "per-class"
        weighted = self.space == "embedding" or self.combine == "add"
        counted = self.space == "class-embedding"
        base = self.warms_up or (self.base_weight > 0 and self.combine != "replace")
        read = {
            "lambda_base": weighted,
            "lambda_invariant": weighted,
            "reduction": not counted,
            "log": not counted,
            "form": self.space == "embedding" and self.combine == "add",
            "unit_norm": self.space == "embedding" and by_class,
            "anchors": self.space == "embedding" and not by_class,
            "temperature": self.space == "embedding" and self.combine in ("divide", "multiply"),
            "reservoir": self.combine == "effective-number",
            "order": self.name == "spread" and self.combine != "reweight",
        }
        read |= {field.name: base for field in dataclasses.fields(self) if field.name.startswith("base")}
        return {name for name, is_read in read.items() if not is_read}

    def without_effect(self) -> list[str]:
        """Name the options that are set but not read in this combination."""
        unread = self.not_read()
        return [f.name for f in dataclasses.fields(self) if f.name in unread and getattr(self, f.name) != f.default]

    def base_options(self) -> LossOptions:
        """Options of the base loss, taken from the fields `base_*`.

        Raises:
            InputError: an unknown base, one that is no loss of single samples, or an option it does not have.
        """
        # The registry imports this module; it is whole by the time that options are made.
        from matcard.losses.registry import make_options

        given = {
            field.name.removeprefix("base_"): value
            for field in dataclasses.fields(self)
            if field.name.startswith("base_") and (value := getattr(self, field.name)) is not None
        }
        options = make_options(self.base, **given)
        if not options.per_sample:
            raise InputError(f"loss.base is {self.base!r}: expected a loss of single samples, such as cross_entropy")
        return options

    def _check_combination(self) -> None:
        if self.combine not in COMBINATIONS[self.space]:
            valid = "; ".join(f"{space}: {', '.join(combine)}" for space, combine in COMBINATIONS.items())
            raise InputError(
                f"loss.space {self.space!r} and loss.combine {self.combine!r} do not go together; valid: {valid}"
            )

    def _check_scale(self) -> None:
        if isinstance(self.scale, str) and self.scale != "median":
            raise InputError(
                f"loss.scale is {self.scale!r}: expected a number above 0, or 'median'. The scale cannot be "
                "learned by descent: the invariants grow with it, so it runs to 0, or to infinity where the "
                "loss divides by them; set it, schedule it (loss.scale_schedule), or tune it"
            )
        if not isinstance(self.scale, str):
            within("scale", self.scale, 0, ends="()")
        if self.scale_schedule == "none":
            if self.scale_end is not None:
                raise InputError("loss.scale_end is given without a schedule: set loss.scale_schedule to linear or log")
            return
        if isinstance(self.scale, str):
            raise InputError("loss.scale 'median' follows each batch: loss.scale_schedule has to be 'none'")
        if self.scale_end is None:
            raise InputError(f"loss.scale_schedule {self.scale_schedule!r} needs loss.scale_end, a number above 0")
        within("scale_end", self.scale_end, 0, ends="()")

    def _check_order(self) -> None:
        if self.order != math.inf:
            within("order", self.order, 0, ends="[]")
        if self.order and self.name == "magnitude":
            raise InputError("loss.order belongs to the spread: the magnitude has none; set loss.name to 'spread'")
        if self.order and self.combine == "reweight":
            raise InputError(
                "loss.order has to be 0 for loss.combine 'reweight': only then is the spread a sum of shares"
            )

    def _check_base(self) -> None:
        options = self.base_options()
        if self.combine == "effective-number" and not options.needs_counts:
            raise InputError(
                f"loss.combine 'effective-number' replaces class counts, and loss.base {options.name!r} uses "
                "none; set class_balanced, weighted_cross_entropy, logit_adjustment, balanced_softmax, ldam"
            )

    def _check_warmup(self) -> None:
        if self.warms_up and self.space == "embedding" and self.base_weight == 0:
            raise InputError(
                f"loss.warmup and loss.warmup_ramp begin with the base loss, and embedding {self.combine} has none: "
                "set loss.lambda_base above 0, so that the head is trained jointly, or leave them at 0"
            )

    def _check_memory(self) -> None:
        by_class = self.space == "embedding" and self.combine == "add" and self.form == "per-class"
        if self.memory and not (self.combine == "reweight" or by_class):
            raise InputError(
                f"loss.memory is {self.memory}, and {self.space} {self.combine} takes none: it is for class-embedding "
                "reweight, and embedding add with loss.form per-class. A remembered error would be as good a place to "
                "go to as no error; triplets are mined within the batch; effective-number has loss.reservoir"
            )
