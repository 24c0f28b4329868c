"""Write qat_resnet.onnx: a small residual network with fake-quant nodes, as quantization-aware training exports it.

Run once by hand, with torch 2.13 (CPU): python make_qat_resnet.py

Fake-quant modules stand where torch.ao's eager quantization-aware training puts them: on the input, on every weight
(per output channel) and on the *output* of every convolution, activation and addition. Symmetric INT8, as for TensorRT.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import torch
from torch import nn
from torch.ao.quantization import (
    FakeQuantize,
    MovingAverageMinMaxObserver,
    MovingAveragePerChannelMinMaxObserver,
    disable_observer,
)

SYMMETRIC = {"quant_min": -128, "quant_max": 127, "dtype": torch.qint8}


def activation() -> FakeQuantize:
    return FakeQuantize(MovingAverageMinMaxObserver, qscheme=torch.per_tensor_symmetric, **SYMMETRIC)


class QatConv(nn.Module):
    """Convolution with a fake-quantized weight, batch-norm, and a fake-quant on its output after Relu."""

    def __init__(self, inputs: int, outputs: int, *, stride: int = 1, kernel: int = 3, relu: bool = True) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2)
        self.weight = FakeQuantize(
            MovingAveragePerChannelMinMaxObserver, qscheme=torch.per_channel_symmetric, ch_axis=0, **SYMMETRIC
        )
        self.relu = nn.ReLU() if relu else nn.Identity()
        self.output = activation()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weight = self.weight(self.conv.weight)
        y = nn.functional.conv2d(x, weight, self.conv.bias, self.conv.stride, self.conv.padding)
        return self.output(self.relu(y))


class Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = QatConv(inputs, outputs, stride=stride)
        self.conv2 = QatConv(outputs, outputs, relu=False)
        same = inputs == outputs and stride == 1
        self.shortcut = nn.Identity() if same else QatConv(inputs, outputs, stride=stride, kernel=1, relu=False)
        self.output = activation()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.output(torch.relu(self.conv2(self.conv1(x)) + self.shortcut(x)))


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.input = activation()
        self.stem = QatConv(3, 16, stride=2)
        self.blocks = nn.Sequential(Block(16, 16, 1), Block(16, 32, 2))
        self.pooled = activation()
        self.fc = nn.Linear(32, 10)
        self.fc_weight = FakeQuantize(
            MovingAveragePerChannelMinMaxObserver, qscheme=torch.per_channel_symmetric, ch_axis=0, **SYMMETRIC
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.blocks(self.stem(self.input(x)))
        y = self.pooled(torch.flatten(nn.functional.adaptive_avg_pool2d(y, 1), 1))
        return nn.functional.linear(y, self.fc_weight(self.fc.weight), self.fc.bias)


def main() -> None:
    torch.manual_seed(0)
    net = Net()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05)
    for _ in range(30):  # random pictures, random classes: only the observers have to see something
        loss = nn.functional.cross_entropy(net(torch.randn(16, 3, 32, 32)), torch.randint(0, 10, (16,)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    net.eval()
    net.apply(disable_observer)
    target = Path(__file__).parent / "qat_resnet.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            net, torch.randn(1, 3, 32, 32), str(target), opset_version=17, dynamo=False,
            input_names=["image"], output_names=["scores"], dynamic_axes={"image": {0: "n"}, "scores": {0: "n"}},
        )  # fmt: skip


if __name__ == "__main__":
    main()
