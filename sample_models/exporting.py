"""Write a trained network as an ONNX file that depends on its weights alone: opset 17, a free batch size.

Torch has two exporters, which spell the same network differently; files of both are in use, so both are used here.
"""

import logging
import warnings
from pathlib import Path

import onnx
import onnx.version_converter
import torch
from torch import Tensor, nn

OPSET = 17
IR_VERSION = 8  # the one that came with opset 17


def export_traced(network: nn.Module, example: Tensor, path: Path, output_name: str) -> None:
    """Export `network`, in eval mode, with torch's older exporter, which runs the network once and writes what it did.

    Constants are folded but BatchNormalization is not: it stays a node of its own, as in many files met in the wild.

    Args:
        network: The trained network, of one input `image` and one output.
        example: An input of batch size 2 or more, [N, C, H, W]; only N stays free in the file.
        path: Where to write the model.
        output_name: Name of the output in the file.

    Raises:
        onnx.checker.ValidationError: The exporter wrote a file that is not valid.
    """
    with warnings.catch_warnings():
        # Torch warns that this exporter is deprecated.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network.eval(),
            (example,),
            str(path),
            dynamo=False,
            opset_version=OPSET,
            training=torch.onnx.TrainingMode.PRESERVE,
            do_constant_folding=True,
            input_names=["image"],
            output_names=[output_name],
            dynamic_axes={"image": {0: "batch"}, output_name: {0: "batch"}},
        )
    onnx.checker.check_model(str(path), full_check=True)


def export_captured(network: nn.Module, example: Tensor, path: Path, output_name: str) -> None:
    """Export `network`, in eval mode, with torch's newer exporter, which captures and simplifies the whole graph.

    Batch normalization is folded into the convolutions, global average pooling becomes ReduceMean. Arguments and errors
    are those of `export_traced`.
    """
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            network.eval(),
            (example,),
            dynamo=True,
            verbose=False,
            opset_version=18,  # the oldest that this exporter can write
            input_names=["image"],
            output_names=[output_name],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
        )
    model = _lower_opset(program.model_proto)
    _drop_traces(model)
    onnx.save(model, path)
    onnx.checker.check_model(str(path), full_check=True)


def _lower_opset(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model in opset 17."""
    lowered = onnx.version_converter.convert_version(model, OPSET)
    lowered.ir_version = IR_VERSION
    for node in lowered.graph.node:
        # The converter of ONNX 1.23 leaves this attribute of opset 18 on ReduceMean; its value is the default.
        kept = [attribute for attribute in node.attribute if attribute.name != "noop_with_empty_axes"]
        del node.attribute[:]
        node.attribute.extend(kept)
    return lowered


def _drop_traces(model: onnx.ModelProto) -> None:
    """Remove the records of where in the sources each node came from: they name folders of the building machine."""
    del model.metadata_props[:], model.graph.metadata_props[:]
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for value in (*model.graph.value_info, *model.graph.input, *model.graph.output, *model.graph.initializer):
        del value.metadata_props[:]
