"""Seeded mutations of ONNX models: what a broken exporter, a cut download or a hostile file looks like."""

from __future__ import annotations

import random

import onnx
from onnx import TensorProto, helper

HUGE = 2**62


def mutated(model: onnx.ModelProto, seed: int) -> tuple[str, bytes]:
    """One mutation of a model: (what was done, the file's bytes)."""
    rng = random.Random(seed)
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    done = []
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        mutation = rng.choice(GRAPH_MUTATIONS)
        try:
            mutation(copy, rng)
        except (IndexError, ValueError):
            continue  # nothing left of the kind it changes
        done.append(mutation.__name__)
    data = copy.SerializeToString()
    if rng.random() < 0.35:
        mutation = rng.choice(BYTE_MUTATIONS)
        data = mutation(data, rng)
        done.append(mutation.__name__)
    return "+".join(done), data


def _node(model: onnx.ModelProto, rng: random.Random) -> onnx.NodeProto:
    return rng.choice(model.graph.node)


def drop_node(model: onnx.ModelProto, rng: random.Random) -> None:
    del model.graph.node[rng.randrange(len(model.graph.node))]


def repeat_node(model: onnx.ModelProto, rng: random.Random) -> None:
    model.graph.node.append(_node(model, rng))


def swap_nodes(model: onnx.ModelProto, rng: random.Random) -> None:
    nodes = list(model.graph.node)
    rng.shuffle(nodes)
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def close_cycle(model: onnx.ModelProto, rng: random.Random) -> None:
    early, late = sorted(rng.sample(range(len(model.graph.node)), 2))
    model.graph.node[early].input[0] = model.graph.node[late].output[0]


def dangle_input(model: onnx.ModelProto, rng: random.Random) -> None:
    node = _node(model, rng)
    node.input[rng.randrange(len(node.input))] = "nothing makes this"


def empty_input(model: onnx.ModelProto, rng: random.Random) -> None:
    node = _node(model, rng)
    node.input[rng.randrange(len(node.input))] = ""


def drop_inputs(model: onnx.ModelProto, rng: random.Random) -> None:
    node = _node(model, rng)
    del node.input[rng.randrange(len(node.input)) :]


def more_inputs(model: onnx.ModelProto, rng: random.Random) -> None:
    node = _node(model, rng)
    node.input.extend(list(node.input))


def cross_inputs(model: onnx.ModelProto, rng: random.Random) -> None:
    node = _node(model, rng)
    node.input[rng.randrange(len(node.input))] = rng.choice(_node(model, rng).input)


def drop_outputs(model: onnx.ModelProto, rng: random.Random) -> None:
    del _node(model, rng).output[:]


def more_outputs(model: onnx.ModelProto, rng: random.Random) -> None:
    _node(model, rng).output.extend(["extra", "", "extra"])


def rename_output(model: onnx.ModelProto, rng: random.Random) -> None:
    _node(model, rng).output[0] = rng.choice(_node(model, rng).output or ["x"])


def change_operator(model: onnx.ModelProto, rng: random.Random) -> None:
    types = ("Conv", "Gemm", "MatMul", "Split", "Concat", "QuantizeLinear", "DequantizeLinear", "Pad", "Resize", "If")
    _node(model, rng).op_type = rng.choice((*types, "Loop", "Cast", "NoSuchOperator", "", "Constant", "Reshape"))


def change_domain(model: onnx.ModelProto, rng: random.Random) -> None:
    _node(model, rng).domain = rng.choice(("com.microsoft", "no.such.domain", "ai.onnx", "ai.onnx.ml", "\u0000"))


def drop_attribute(model: onnx.ModelProto, rng: random.Random) -> None:
    node = rng.choice([node for node in model.graph.node if node.attribute] or [0])
    del node.attribute[rng.randrange(len(node.attribute))]


def odd_attribute(model: onnx.ModelProto, rng: random.Random) -> None:
    name = rng.choice(("axis", "group", "perm", "kernel_shape", "pads", "mode", "block_size", "output_dtype", "transB"))
    value = rng.choice(
        (-1, HUGE, -HUGE, 1.5, "text", [1, 2, 3], [0.5], [], [-7] * 9, helper.make_tensor("t", 1, [], [1]))
    )
    node = _node(model, rng)
    kept = [attribute for attribute in node.attribute if attribute.name != name]
    del node.attribute[:]
    node.attribute.extend(kept)
    attribute = onnx.AttributeProto(name=name) if value == [] else helper.make_attribute(name, value)
    node.attribute.append(attribute)


def reference_attribute(model: onnx.ModelProto, rng: random.Random) -> None:
    node = rng.choice([node for node in model.graph.node if node.attribute] or [0])
    node.attribute[0].ref_attr_name = "outer"


def body_attribute(model: onnx.ModelProto, rng: random.Random) -> None:
    body = helper.make_graph([helper.make_node("Relu", ["x"], ["inner"])], "body", [], [])
    _node(model, rng).attribute.append(helper.make_attribute("body", body))


def negative_dims(model: onnx.ModelProto, rng: random.Random) -> None:
    value = rng.choice((*model.graph.input, *model.graph.value_info))
    value.type.tensor_type.shape.dim[0].dim_value = rng.choice((-1, -HUGE))


def huge_dims(model: onnx.ModelProto, rng: random.Random) -> None:
    value = rng.choice((*model.graph.input, *model.graph.value_info))
    for dim in value.type.tensor_type.shape.dim:
        dim.dim_value = rng.choice((HUGE, 2**31, 0))


def fewer_dims(model: onnx.ModelProto, rng: random.Random) -> None:
    value = rng.choice((*model.graph.input, *model.graph.value_info))
    del value.type.tensor_type.shape.dim[:]


def drop_type(model: onnx.ModelProto, rng: random.Random) -> None:
    rng.choice((*model.graph.input, *model.graph.value_info, *model.graph.output)).ClearField("type")


def sequence_type(model: onnx.ModelProto, rng: random.Random) -> None:
    value = rng.choice((*model.graph.input, *model.graph.value_info))
    value.type.sequence_type.elem_type.tensor_type.elem_type = TensorProto.FLOAT


def change_type(model: onnx.ModelProto, rng: random.Random) -> None:
    value = rng.choice((*model.graph.input, *model.graph.value_info, *model.graph.output))
    value.type.tensor_type.elem_type = rng.choice((0, 2, 3, 7, 8, 10, 16, 99))


def change_weight_type(model: onnx.ModelProto, rng: random.Random) -> None:
    rng.choice(model.graph.initializer).data_type = rng.choice((0, 2, 3, 6, 7, 8, 9, 10, 11, 16, 17, 22, 23, 99))


def change_weight_dims(model: onnx.ModelProto, rng: random.Random) -> None:
    tensor = rng.choice(model.graph.initializer)
    dims = rng.choice(([], [0], [-1], [HUGE, HUGE], [3, 3], [2**31], [*tensor.dims, 1]))
    del tensor.dims[:]
    tensor.dims.extend(dims)


def cut_weight(model: onnx.ModelProto, rng: random.Random) -> None:
    tensor = rng.choice(model.graph.initializer)
    tensor.raw_data = tensor.raw_data[: rng.randrange(len(tensor.raw_data) + 1)]


def odd_weight(model: onnx.ModelProto, rng: random.Random) -> None:
    tensor = rng.choice(model.graph.initializer)
    tensor.raw_data = bytes(rng.choice((0x00, 0xFF, 0x7F, 0x80)) for _ in tensor.raw_data)


def external_weight(model: onnx.ModelProto, rng: random.Random) -> None:
    tensor = rng.choice(model.graph.initializer)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    location = rng.choice(("../../etc/passwd", "/etc/passwd", "missing.bin", "", "."))
    tensor.external_data.append(onnx.StringStringEntryProto(key="location", value=location))


def drop_weight(model: onnx.ModelProto, rng: random.Random) -> None:
    del model.graph.initializer[rng.randrange(len(model.graph.initializer))]


def rename_weight(model: onnx.ModelProto, rng: random.Random) -> None:
    rng.choice(model.graph.initializer).name = rng.choice(("", rng.choice(model.graph.initializer).name, "x"))


def weight_as_input(model: onnx.ModelProto, rng: random.Random) -> None:
    tensor = rng.choice(model.graph.initializer)
    model.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims)))


def drop_graph_input(model: onnx.ModelProto, rng: random.Random) -> None:
    del model.graph.input[rng.randrange(len(model.graph.input))]


def odd_graph_output(model: onnx.ModelProto, rng: random.Random) -> None:
    model.graph.output[0].name = rng.choice(("", "nowhere", "x", _node(model, rng).output[0]))


def more_graph_outputs(model: onnx.ModelProto, rng: random.Random) -> None:
    model.graph.output.extend(list(model.graph.output))


def drop_graph_outputs(model: onnx.ModelProto, rng: random.Random) -> None:
    del model.graph.output[:]


def odd_opset(model: onnx.ModelProto, rng: random.Random) -> None:
    choice = rng.choice((0, -1, 1, 9, 10, 12, 99, HUGE, None))
    if choice is None:
        del model.opset_import[:]
    else:
        model.opset_import[0].version = choice


def odd_ir_version(model: onnx.ModelProto, rng: random.Random) -> None:
    model.ir_version = rng.choice((0, 1, 3, 99, HUGE))


def local_function(model: onnx.ModelProto, rng: random.Random) -> None:
    node = _node(model, rng)
    body = [helper.make_node(rng.choice(("Relu", "Twin", node.op_type)), ["a"], [rng.choice(("b", "c"))])]
    function = helper.make_function("local", "Twin", ["a"], ["b"], body, [helper.make_opsetid("", 17)])
    model.functions.append(function)
    node.op_type, node.domain = "Twin", "local"
    if rng.random() < 0.5:
        model.opset_import.append(helper.make_opsetid("local", 1))


def cut_bytes(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data))]


def flip_bytes(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 4, 32))):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def insert_bytes(data: bytes, rng: random.Random) -> bytes:
    place = rng.randrange(len(data))
    return data[:place] + rng.randbytes(rng.choice((1, 2, 8))) + data[place:]


def zero_bytes(data: bytes, rng: random.Random) -> bytes:
    place = rng.randrange(len(data))
    return data[:place] + bytes(min(16, len(data) - place)) + data[place + 16 :]


GRAPH_MUTATIONS = (
    drop_node, repeat_node, swap_nodes, close_cycle, dangle_input, empty_input, drop_inputs, more_inputs, cross_inputs,
    drop_outputs, more_outputs, rename_output, change_operator, change_domain, drop_attribute, odd_attribute,
    reference_attribute, body_attribute, negative_dims, huge_dims, fewer_dims, drop_type, sequence_type, change_type,
    change_weight_type, change_weight_dims, cut_weight, odd_weight, external_weight, drop_weight, rename_weight,
    weight_as_input, drop_graph_input, odd_graph_output, more_graph_outputs, drop_graph_outputs, odd_opset,
    odd_ir_version, local_function,
)  # fmt: skip
BYTE_MUTATIONS = (cut_bytes, flip_bytes, flip_bytes, flip_bytes, insert_bytes, zero_bytes)
