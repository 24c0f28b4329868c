"""Build `digits_mobilenetv2.onnx`: a small MobileNetV2 for the handwritten digits.

Inverted residuals: 1x1 expansion, 3x3 depthwise convolution, 1x1 linear projection, ReLU6 (Clip) between them.

Source: Sandler et al. 2018, arXiv 1801.04381, table 1 and section 4.
"""

from pathlib import Path

import torch
from torch import Tensor, nn

from sample_models.exporting import export_captured
from sample_models.training import Recipe, make_deterministic, train_classifier

RECIPE = Recipe(seed=2, epochs=30)


def convolution(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Return convolution, batch normalization and ReLU6."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU6(),
    )


class InvertedResidual(nn.Module):
    """Expand, filter each channel, project: [N, inputs, H, W] -> [N, outputs, H / stride, W / stride]."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int):
        super().__init__()
        hidden = inputs * expansion
        self.body = nn.Sequential(
            convolution(inputs, hidden, 1),
            convolution(hidden, hidden, 3, stride, groups=hidden),
            nn.Conv2d(hidden, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block."""
        return x + self.body(x) if self.residual else self.body(x)


def make_network() -> nn.Module:
    """Return the untrained network: [N, 1, 32, 32] -> scores [N, 10]."""
    return nn.Sequential(
        convolution(1, 16, 3, stride=2),
        convolution(16, 16, 3, groups=16),
        nn.Conv2d(16, 16, 1, bias=False),
        nn.BatchNorm2d(16),
        InvertedResidual(16, 32, stride=2, expansion=4),
        InvertedResidual(32, 32, stride=1, expansion=4),
        InvertedResidual(32, 48, stride=2, expansion=4),
        InvertedResidual(48, 48, stride=1, expansion=4),
        convolution(48, 128, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(128, 10),
    )


def build(path: Path) -> None:
    """Train the network and write it to `path`."""
    make_deterministic(RECIPE.seed)
    network = train_classifier(make_network(), RECIPE)
    export_captured(network, torch.zeros(2, 1, 32, 32), path, "scores")
