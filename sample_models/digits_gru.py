"""Build `digits_gru.onnx`: a recurrent network that reads the rows of a handwritten digit from both ends.

Two linear layers embed each row, a bidirectional GRU reads them, two linear layers decide. The GRU stays float when
the model is quantized; the linear layers around it do not.

Source: Cho et al. 2014, arXiv 1406.1078, section 2.3 (the gated recurrent unit).
"""

from pathlib import Path

import torch
from torch import Tensor, nn

from sample_models.exporting import export_traced
from sample_models.training import Recipe, make_deterministic, train_classifier

SIDE = 32
EMBEDDING = 64
HIDDEN = 48
RECIPE = Recipe(seed=4, epochs=40, learning_rate=6e-3)


class RowReader(nn.Module):
    """The network: [N, 1, 32, 32] -> scores [N, 10]."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Sequential(
            nn.Linear(SIDE, EMBEDDING), nn.ReLU(), nn.Linear(EMBEDDING, EMBEDDING), nn.ReLU()
        )
        self.reader = nn.GRU(EMBEDDING, HIDDEN, batch_first=True, bidirectional=True)
        self.decision = nn.Sequential(nn.Linear(2 * HIDDEN, EMBEDDING), nn.ReLU(), nn.Linear(EMBEDDING, 10))

    def forward(self, x: Tensor) -> Tensor:
        """Return the scores."""
        rows = self.embedding(x.flatten(1, 2))
        _, last = self.reader(rows)
        scores: Tensor = self.decision(last.transpose(0, 1).flatten(1))
        return scores


def build(path: Path) -> None:
    """Train the network and write it to `path`."""
    make_deterministic(RECIPE.seed)
    network = train_classifier(RowReader(), RECIPE)
    export_traced(network, torch.zeros(2, 1, 32, 32), path, "scores")
