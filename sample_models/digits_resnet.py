"""Build `digits_resnet.onnx`: a small ResNet for the handwritten digits.

Basic blocks of two 3x3 convolutions with batch normalization, max pooling in the stem, 1x1 convolutions on
the shortcuts of the two down-sampling blocks, global average pooling, one linear layer.

Source: He et al. 2015, arXiv 1512.03385, section 3.3 (option B for the shortcuts).
"""

from pathlib import Path

import torch
from torch import Tensor, nn

from sample_models.exporting import export_traced
from sample_models.training import Recipe, make_deterministic, train_classifier

RECIPE = Recipe(seed=1, epochs=24)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut: [N, inputs, H, W] -> [N, outputs, H / stride, W / stride]."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU()
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block."""
        y = self.relu(self.norm1(self.conv1(x)))
        return self.relu(self.norm2(self.conv2(y)) + self.shortcut(x))


def make_network() -> nn.Module:
    """Return the untrained network: [N, 1, 32, 32] -> scores [N, 10]."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.MaxPool2d(3, 2, padding=1),
        BasicBlock(16, 16, 1),
        BasicBlock(16, 32, 2),
        BasicBlock(32, 32, 1),
        BasicBlock(32, 64, 2),
        BasicBlock(64, 64, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, 10),
    )


def build(path: Path) -> None:
    """Train the network and write it to `path`."""
    make_deterministic(RECIPE.seed)
    network = train_classifier(make_network(), RECIPE)
    export_traced(network, torch.zeros(2, 1, 32, 32), path, "scores")
