"""Build `digits_vit.onnx`: a small vision transformer for the handwritten digits.

A 4x4 patch embedding, a class token, three pre-norm blocks of multi-head attention (one linear layer for query, key
and value together) and a GELU perceptron.

Source: Dosovitskiy et al. 2020, arXiv 2010.11929, section 3.1.
"""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from sample_models.exporting import export_traced
from sample_models.training import Recipe, make_deterministic, train_classifier

WIDTH = 64
HEADS = 4
BLOCKS = 3
PATCH = 4
RECIPE = Recipe(seed=3, epochs=60, learning_rate=2e-3, weight_decay=0.05, max_shift=1.5)


class Attention(nn.Module):
    """Multi-head self-attention over tokens [N, T, WIDTH]."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.projection = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        """Mix the tokens."""
        count, tokens, _ = x.shape
        qkv = self.qkv(x).reshape(count, tokens, 3, HEADS, WIDTH // HEADS).permute(2, 0, 3, 1, 4)
        query, key, value = qkv.unbind(0)
        weights = functional.softmax(query @ key.transpose(-2, -1) * (WIDTH // HEADS) ** -0.5, dim=-1)
        return self.projection((weights @ value).transpose(1, 2).reshape(count, tokens, WIDTH))


class Block(nn.Module):
    """Attention and perceptron, each behind a normalization and beside a shortcut: [N, T, WIDTH] -> the same."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(WIDTH)
        self.attention = Attention()
        self.norm2 = nn.LayerNorm(WIDTH)
        self.perceptron = nn.Sequential(nn.Linear(WIDTH, 2 * WIDTH), nn.GELU(), nn.Linear(2 * WIDTH, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block."""
        x = x + self.attention(self.norm1(x))
        return x + self.perceptron(self.norm2(x))


class VisionTransformer(nn.Module):
    """The network: [N, 1, 32, 32] -> scores [N, 10]."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, WIDTH, PATCH, PATCH)
        self.class_token = nn.Parameter(torch.zeros(1, 1, WIDTH))
        self.positions = nn.Parameter(0.02 * torch.randn(1, (32 // PATCH) ** 2 + 1, WIDTH))
        self.blocks = nn.Sequential(*(Block() for _ in range(BLOCKS)))
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Return the scores."""
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.class_token.expand(x.shape[0], -1, -1), tokens], dim=1) + self.positions
        scores: Tensor = self.head(self.norm(self.blocks(tokens))[:, 0])
        return scores


def build(path: Path) -> None:
    """Train the network and write it to `path`."""
    make_deterministic(RECIPE.seed)
    network = train_classifier(VisionTransformer(), RECIPE)
    export_traced(network, torch.zeros(2, 1, 32, 32), path, "scores")
