"""Training loops: seeded and single-threaded, so that one torch on one machine gives one set of weights."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from sample_models.digits import Digits, load_split


@dataclass(frozen=True)
class Recipe:
    """How long and how hard to train; `max_shift` is the largest random shift of a digit, in pixels."""

    seed: int
    epochs: int
    batch_size: int = 64
    learning_rate: float = 4e-3
    weight_decay: float = 0.02
    max_shift: float = 2.0


def make_deterministic(seed: int) -> None:
    """Seed torch and forbid whatever depends on the order of threads; call it before making weights."""
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)


def train_classifier(network: nn.Module, recipe: Recipe) -> nn.Module:
    """Train `network`, [N, 1, 32, 32] in 0..1 -> scores [N, 10], on the training digits; return it in eval mode."""
    digits, _ = load_split()
    images, labels = unit_images(digits), torch.from_numpy(digits.labels)
    loss_of = nn.CrossEntropyLoss(label_smoothing=0.05)
    steps = recipe.epochs * (len(images) // recipe.batch_size)
    optimizer = torch.optim.AdamW(network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.learning_rate, total_steps=steps)
    network.train()
    for _ in range(recipe.epochs):
        order = torch.randperm(len(images))[: len(images) // recipe.batch_size * recipe.batch_size]
        for batch in order.split(recipe.batch_size):
            optimizer.zero_grad()
            loss_of(network(jitter(images[batch], recipe.max_shift)), labels[batch]).backward()
            optimizer.step()
            schedule.step()
    return network.eval()


def unit_images(digits: Digits) -> Tensor:
    """Return the pictures as `float32` [N, 1, 32, 32] in 0..1 (the preset `unit`)."""
    return torch.from_numpy(digits.images).unsqueeze(1).float() / 255


def jitter(images: Tensor, max_shift: float) -> Tensor:
    """Turn, scale and shift each picture [N, C, H, W] a little, at random."""
    count, side = len(images), images.shape[-1]
    angle = (torch.rand(count) - 0.5) * 0.4
    scale = 1 + (torch.rand(count) - 0.5) * 0.3
    shift = (torch.rand(count, 2) - 0.5) * (4 * max_shift / side)
    turn = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], dim=1).view(count, 2, 2)
    affine = torch.cat([turn * scale.view(count, 1, 1), shift.view(count, 2, 1)], dim=2)
    grid = functional.affine_grid(affine, list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, align_corners=False)
