"""Build `superres_fsrcnn.onnx`: a small network that doubles the size of photographs.

It works on the small picture and enlarges late, with a transposed convolution; what it finds is added to the linearly
enlarged input (a linear Resize, which has to stay float). PReLU has a slope for each channel.

Source: Dong et al. 2016, arXiv 1608.00367, section 3 (extract, shrink, map, expand, deconvolve), with batch
normalization in the mapping and behind the transposed convolution, and a last convolution to colours.
"""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from sample_models.exporting import export_traced
from sample_models.photographs import SHARP_SIDE
from sample_models.training import Recipe, make_deterministic, to_grey_levels, train_restorer

RECIPE = Recipe(seed=6, epochs=2500, batch_size=8, learning_rate=6e-3, weight_decay=1e-4)


def mapping() -> nn.Sequential:
    """Return 3x3 convolution of 16 channels, batch normalization and PReLU."""
    return nn.Sequential(nn.Conv2d(16, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.PReLU(16))


class SuperResolution(nn.Module):
    """The network: [N, 3, 32, 32] in 0..1 -> [N, 3, 64, 64]."""

    def __init__(self) -> None:
        super().__init__()
        self.details = nn.Sequential(
            nn.Conv2d(3, 32, 5, padding=2),
            nn.PReLU(32),
            nn.Conv2d(32, 16, 1),
            nn.PReLU(16),
            mapping(),
            mapping(),
            mapping(),
            nn.Conv2d(16, 32, 1),
            nn.PReLU(32),
            nn.ConvTranspose2d(32, 16, 4, 2, padding=1, bias=False),
            nn.BatchNorm2d(16),
            nn.ReLU(),
        )
        self.colours = nn.Conv2d(16, 3, 3, padding=1)
        # The untrained network is the linear enlargement.
        nn.init.zeros_(self.colours.weight)
        nn.init.zeros_(self.colours.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return the enlarged picture."""
        return functional.interpolate(x, scale_factor=2.0, mode="bilinear") + self.colours(self.details(x))


def halve(sharp: Tensor) -> Tensor:
    """Replace each 2x2 block by its mean, in the grey levels of a stored picture."""
    return to_grey_levels(functional.avg_pool2d(sharp, 2))


def build(path: Path) -> None:
    """Train the network and write it to `path`."""
    make_deterministic(RECIPE.seed)
    network = train_restorer(SuperResolution(), halve, SHARP_SIDE, RECIPE)
    export_traced(network, torch.zeros(2, 3, SHARP_SIDE // 2, SHARP_SIDE // 2), path, "restored")
