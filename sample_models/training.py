"""Training loops: seeded and single-threaded, so that one torch on one machine gives one set of weights."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from sample_models.digits import Digits, load_split
from sample_models.photographs import training_regions


@dataclass(frozen=True)
class Recipe:
    """How long and how hard to train.

    Attributes:
        seed: Seed of torch's generator: weights, order and disturbances.
        epochs: Passes over the training digits, or batches of random patches for photographs.
        batch_size: Pictures a step.
        learning_rate: The largest of a one-cycle schedule.
        weight_decay: Of AdamW.
        max_shift: Largest random shift of a digit, in pixels.
    """

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
    batches = len(images) // recipe.batch_size
    optimizer, schedule = _make_optimizer(network, recipe, recipe.epochs * batches)
    for _ in range(recipe.epochs):
        order = torch.randperm(len(images))[: batches * recipe.batch_size]
        for batch in order.split(recipe.batch_size):
            optimizer.zero_grad()
            loss_of(network(jitter(images[batch], recipe.max_shift)), labels[batch]).backward()
            optimizer.step()
            schedule.step()
    return network.eval()


def train_restorer(network: nn.Module, degrade: Callable[[Tensor], Tensor], side: int, recipe: Recipe) -> nn.Module:
    """Train `network` to undo `degrade` on patches of the photographs' training regions; return it in eval mode.

    Args:
        network: Takes what `degrade` makes of patches [N, 3, side, side] in 0..1, and returns patches of that shape.
        degrade: Makes the network's input from clean patches.
        side: Height and width of the clean patches.
        recipe: Its `epochs` count batches.
    """
    regions = [torch.from_numpy(region).permute(2, 0, 1).float() / 255 for region in training_regions()]
    optimizer, schedule = _make_optimizer(network, recipe, recipe.epochs)
    for _ in range(recipe.epochs):
        clean = torch.stack([random_patch(regions, side) for _ in range(recipe.batch_size)])
        optimizer.zero_grad()
        functional.l1_loss(network(degrade(clean)), clean).backward()
        optimizer.step()
        schedule.step()
    return network.eval()


def _make_optimizer(
    network: nn.Module, recipe: Recipe, steps: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    network.train()
    rate = recipe.learning_rate
    optimizer = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=recipe.weight_decay)
    return optimizer, torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)


def random_patch(regions: list[Tensor], side: int) -> Tensor:
    """Cut [3, side, side] from one of `regions` [3, H, W], at random, mirrored and turned at random."""
    region = regions[_below(len(regions))]
    top, left = _below(region.shape[1] - side + 1), _below(region.shape[2] - side + 1)
    patch = region[:, top : top + side, left : left + side].rot90(_below(4), dims=(1, 2))
    return patch.flip(2) if _below(2) else patch


def to_grey_levels(pictures: Tensor) -> Tensor:
    """Round pictures in 0..1 to the 256 values that a stored picture can have."""
    return pictures.clamp(0, 1).mul(255).round().div(255)


def _below(end: int) -> int:
    return int(torch.randint(end, ()))


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
