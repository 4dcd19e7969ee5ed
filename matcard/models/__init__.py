"""Networks that map a batch to `Output(logits (N, C), embedding (N, F))`.

Importing the package loads no torch; using a model does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from matcard._lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "Classifier": "base",
        "CGCNN": "cgcnn",
        "GlassNet": "glassnet",
        "MLP": "mlp",
        "ResNet": "resnet",
        "CGCNNOptions": "options",
        "GlassNetOptions": "options",
        "MLPOptions": "options",
        "ModelOptions": "options",
        "ResNetOptions": "options",
        "TransformerOptions": "options",
        "Output": "output",
        "build_model": "registry",
        "check_model": "registry",
        "default_model": "registry",
        "model_names": "registry",
        "model_options": "registry",
        "LoadReport": "transfer",
        "initialize": "transfer",
        "load_weights": "transfer",
        "read_weights": "transfer",
        "CrystalTransformer": "transformer",
    },
)

if TYPE_CHECKING:
    from matcard.models.base import Classifier as Classifier
    from matcard.models.cgcnn import CGCNN as CGCNN
    from matcard.models.glassnet import GlassNet as GlassNet
    from matcard.models.mlp import MLP as MLP
    from matcard.models.options import CGCNNOptions as CGCNNOptions
    from matcard.models.options import GlassNetOptions as GlassNetOptions
    from matcard.models.options import MLPOptions as MLPOptions
    from matcard.models.options import ModelOptions as ModelOptions
    from matcard.models.options import ResNetOptions as ResNetOptions
    from matcard.models.options import TransformerOptions as TransformerOptions
    from matcard.models.output import Output as Output
    from matcard.models.registry import build_model as build_model
    from matcard.models.registry import check_model as check_model
    from matcard.models.registry import default_model as default_model
    from matcard.models.registry import model_names as model_names
    from matcard.models.registry import model_options as model_options
    from matcard.models.resnet import ResNet as ResNet
    from matcard.models.transfer import LoadReport as LoadReport
    from matcard.models.transfer import initialize as initialize
    from matcard.models.transfer import load_weights as load_weights
    from matcard.models.transfer import read_weights as read_weights
    from matcard.models.transformer import CrystalTransformer as CrystalTransformer
