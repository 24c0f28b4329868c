"""Stands for the compiler's Python package in tests: the few names of its interface that a build uses.

It makes one kernel of every operator but Q and DQ; a weighted one whose data is dequantized runs in INT8.
`FAKE_COMPILER` lets it misbehave: `crash`, `hang`, `memory`, `fail`, `float` (nothing in INT8), `old` (no SM120).
"""

from __future__ import annotations

import enum
import math
import os
import signal
import time
from collections.abc import Iterator

import numpy as np
import onnx

__version__ = "0.0.fake"

MODE = os.environ.get("FAKE_COMPILER", "")
WEIGHTED = {"Conv": "correlation", "ConvTranspose": "correlation", "Gemm": "gemm", "MatMul": "gemm"}
UNKNOWN = {"Det", "NoSuch"}
NAMES = {1: "Float", 10: "Half", 16: "BFloat16", 3: "Int8", 6: "Int32", 7: "Int64", 9: "Bool"}


GPUS = (75, 80, 86, 89) if MODE == "old" else (75, 80, 86, 89, 120)
ComputeCapability = enum.Enum("ComputeCapability", {f"SM{gpu}": gpu for gpu in GPUS})


class NetworkDefinitionCreationFlag(enum.IntEnum):
    STRONGLY_TYPED = 1


class ProfilingVerbosity(enum.Enum):
    DETAILED = 1


class ILogger:
    ERROR, INTERNAL_ERROR, VERBOSE = "ERROR", "INTERNAL_ERROR", "VERBOSE"


class Tensor:
    def __init__(self, value: onnx.ValueInfoProto) -> None:
        self.name = value.name
        self.shape = [dim.dim_value or -1 for dim in value.type.tensor_type.shape.dim]
        self.is_shape_tensor = value.name == "a_shape"


class Network:
    def __init__(self) -> None:
        self.model = onnx.ModelProto()

    @property
    def num_inputs(self) -> int:
        return len(self.model.graph.input)

    def get_input(self, number: int) -> Tensor:
        return Tensor(self.model.graph.input[number])


class ParserError:
    def __init__(self, number: int, node: onnx.NodeProto) -> None:
        self._number, self._node = number, node

    def node(self) -> int:
        return self._number

    def node_name(self) -> str:
        return self._node.name

    def node_operator(self) -> str:
        return self._node.op_type

    def desc(self) -> str:
        return f"no such operator here: {self._node.op_type}"


class OnnxParser:
    def __init__(self, network: Network, logger: ILogger) -> None:
        self._network, self._logger = network, logger
        self._errors: list[ParserError] = []

    def parse_from_file(self, path: str) -> bool:
        self._network.model = onnx.load(path)
        nodes = enumerate(self._network.model.graph.node)
        self._errors = [ParserError(number, node) for number, node in nodes if node.op_type in UNKNOWN]
        return not self._errors

    @property
    def num_errors(self) -> int:
        return len(self._errors)

    def get_error(self, number: int) -> ParserError:
        return self._errors[number]


class Profile(dict):
    def set_shape(self, name: str, smallest: list[int], usual: list[int], largest: list[int]) -> None:
        self[name] = (smallest, usual, largest)


class Config:
    num_compute_capabilities = 0
    profiling_verbosity = None

    def __init__(self) -> None:
        self.profile = Profile()

    def set_compute_capability(self, capability: ComputeCapability, number: int) -> None:
        assert self.num_compute_capabilities == 1

    def add_optimization_profile(self, profile: Profile) -> None:
        self.profile = profile


class Engine(bytearray):
    @property
    def nbytes(self) -> int:
        return len(self)


class Builder:
    def __init__(self, logger: ILogger) -> None:
        self._logger = logger

    def create_network(self, flags: int) -> Network:
        return Network()

    def create_builder_config(self) -> Config:
        return Config()

    def create_optimization_profile(self) -> Profile:
        return Profile()

    def build_serialized_network(self, network: Network, config: Config) -> Engine | None:
        print("what a library prints is no event")  # noqa: T201
        if MODE == "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        if MODE == "hang":
            time.sleep(600)
        if MODE == "memory":
            np.zeros(10**13, np.int8)
        if MODE == "fail":
            self._logger.log(ILogger.ERROR, "nothing can be made of this")
            return None
        self._logger.log(ILogger.VERBOSE, "Layers:\n" + "\n".join(lines_of(network.model, config.profile)))
        return Engine(b"engine")


def lines_of(model: onnx.ModelProto, profile: Profile) -> Iterator[str]:
    for value in model.graph.input:
        dims = value.type.tensor_type.shape.dim
        for dim, sizes in zip(dims, zip(*profile.get(value.name, ()), strict=True), strict=False):
            if len(set(sizes)) == 1:
                dim.dim_value = sizes[0]
            else:
                dim.dim_param = "open"
    del model.graph.value_info[:]
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")
    inferred = onnx.shape_inference.infer_shapes(model).graph
    known = {value.name: value for value in (*inferred.input, *inferred.value_info, *inferred.output)}
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    makers = {name: node for node in model.graph.node for name in node.output}

    def dequantized(name: str) -> onnx.NodeProto | None:
        maker = makers.get(name)
        return maker if maker is not None and maker.op_type == "DequantizeLinear" else None

    def tensor(name: str, kind: str = "") -> str:
        if name in weights:
            return spelled(name, kind or NAMES[weights[name].data_type], list(weights[name].dims))
        held = known[name].type.tensor_type
        dims = [dim.dim_value if dim.HasField("dim_value") else -1 for dim in held.shape.dim]
        return spelled(name, kind or NAMES.get(held.elem_type, "Float"), dims)

    readers = {name for node in model.graph.node for name in node.input}
    for node in model.graph.node:
        if node.op_type == "DequantizeLinear" or (node.op_type == "QuantizeLinear" and node.output[0] in readers):
            continue
        halves = [dequantized(name) for name in node.input]
        narrow = node.op_type in WEIGHTED and halves[0] is not None and halves[1] is not None and MODE != "float"
        reads, constants, names = [], [], [node.name]
        for name, half in zip(node.input, halves, strict=True):
            source = half.input[0] if half is not None and narrow else name
            kind = "Int8" if half is not None and narrow else ""
            root = source if half is None else half.input[0]
            maker = makers.get(root)
            constant = root in weights or (maker is not None and maker.input[0] in weights)
            (constants if constant else reads).append(tensor(source if source in weights else name, kind))
            names += [half.name] if half is not None and narrow else []
        kind = WEIGHTED.get(node.op_type, "kgen")
        yield (
            f"Name: made_{node.name}, LayerType: {kind}, Inputs: [ {', '.join(reads)}], "
            f"Constants: [ {', '.join(constants)}], Outputs: [ {', '.join(map(tensor, filter(None, node.output)))}], "
            f"TacticName: fake, StreamId: 0, Metadata: {''.join(f'[ONNX Layer: {name}]' for name in names)}"
        )


def spelled(name: str, kind: str, dims: list[int]) -> str:
    sizes = ",".join(map(str, dims or [1]))
    return (
        f"{{ Name: {name}, Dimensions: [{sizes}], Strides: [{math.prod(dims)}], StrideOrder: [0], "
        f"Datatype: {kind}, Format: plain }}"
    )
