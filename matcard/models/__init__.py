"""Networks that map a batch to `Output(logits (N, C), embedding (N, F))`, each with its options in its file."""

from matcard.models.base import Classifier, ModelOptions, Output, check_model
from matcard.models.build import build_model
from matcard.models.cgcnn import CGCNN, CGCNNOptions
from matcard.models.glassnet import GlassNet, GlassNetOptions
from matcard.models.mlp import MLP, MLPOptions
from matcard.models.resnet import ResNet, ResNetOptions
from matcard.models.transfer import load_weights, read_weights
from matcard.models.transformer import CrystalTransformer, TransformerOptions

__all__ = [
    "CGCNN",
    "MLP",
    "CGCNNOptions",
    "Classifier",
    "CrystalTransformer",
    "GlassNet",
    "GlassNetOptions",
    "MLPOptions",
    "ModelOptions",
    "Output",
    "ResNet",
    "ResNetOptions",
    "TransformerOptions",
    "build_model",
    "check_model",
    "load_weights",
    "read_weights",
]
