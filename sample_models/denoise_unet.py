"""Build `denoise_unet.onnx`: a small U-Net that removes noise from photographs.

Strided convolutions downwards, nearest Resize and Concat upwards, SiLU everywhere; the output is the input minus the
noise that the network finds in it.

Sources: Ronneberger et al. 2015, arXiv 1505.04597 (the shape); Zhang et al. 2016, arXiv 1608.03981, section III
(predicting the noise instead of the picture).
"""

from pathlib import Path

import torch
from torch import Tensor, nn

from sample_models.exporting import export_captured
from sample_models.photographs import NOISE_SIGMA, NOISY_SIDE
from sample_models.training import Recipe, make_deterministic, to_grey_levels, train_restorer

RECIPE = Recipe(seed=5, epochs=2200, batch_size=8, learning_rate=4e-3, weight_decay=1e-4)


def convolution(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """Return 3x3 convolution, batch normalization and SiLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.SiLU()
    )


class UNet(nn.Module):
    """The network: noisy pictures [N, 3, 48, 48] in 0..1 -> clean ones of the same shape."""

    def __init__(self) -> None:
        super().__init__()
        self.top = nn.Sequential(convolution(3, 16), convolution(16, 16))
        self.middle = nn.Sequential(convolution(16, 32, stride=2), convolution(32, 32))
        self.bottom = nn.Sequential(convolution(32, 64, stride=2), convolution(64, 64))
        self.enlarge = nn.Upsample(scale_factor=2, mode="nearest")
        self.merge_middle = convolution(64 + 32, 32)
        self.merge_top = convolution(32 + 16, 16)
        self.noise = nn.Conv2d(16, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the picture without its noise."""
        top = self.top(x)
        middle = self.middle(top)
        up = self.enlarge(self.bottom(middle))
        up = self.enlarge(self.merge_middle(torch.cat([up, middle], dim=1)))
        return x - self.noise(self.merge_top(torch.cat([up, top], dim=1)))


def disturb(clean: Tensor) -> Tensor:
    """Add the noise that the network learns to remove, in the grey levels of a stored picture."""
    return to_grey_levels(clean + torch.randn_like(clean) * (NOISE_SIGMA / 255))


def build(path: Path) -> None:
    """Train the network and write it to `path`."""
    make_deterministic(RECIPE.seed)
    network = train_restorer(UNet(), disturb, NOISY_SIDE, RECIPE)
    export_captured(network, torch.zeros(2, 3, NOISY_SIDE, NOISY_SIDE), path, "restored")
