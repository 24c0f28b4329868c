"""Write a trained network as an ONNX file that depends on its weights alone: opset 17, a free batch size."""

import warnings
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

OPSET = 17


def export(network: nn.Module, example: Tensor, path: Path, output_name: str) -> None:
    """Export `network`, in eval mode, with torch's TorchScript exporter.

    Nothing is folded: BatchNormalization stays a node of its own, as in many files met in the wild.

    Args:
        network: The trained network, of one input `image` and one output.
        example: An input of batch size 2 or more, [N, C, H, W]; only N stays free in the file.
        path: Where to write the model.
        output_name: Name of the output in the file.

    Raises:
        onnx.checker.ValidationError: The exporter wrote a file that is not valid.
    """
    with warnings.catch_warnings():
        # This exporter is deprecated, but most files in use were written by it.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network.eval(),
            (example,),
            str(path),
            dynamo=False,
            opset_version=OPSET,
            training=torch.onnx.TrainingMode.PRESERVE,
            do_constant_folding=False,
            input_names=["image"],
            output_names=[output_name],
            dynamic_axes={"image": {0: "batch"}, output_name: {0: "batch"}},
        )
    onnx.checker.check_model(str(path), full_check=True)
