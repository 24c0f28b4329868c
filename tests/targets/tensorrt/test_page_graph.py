"""The graph of a prediction has every kernel, what connects them, and what is known of each."""

from __future__ import annotations

import onnx_ir as ir
import pytest

from qdq_cli.model.maps import from_proto
from qdq_cli.preparing.prepare import infer_shapes
from qdq_cli.screen.graph import Edge, Graph, Mark, Node, Shade
from qdq_cli.targets.page_blocks import in_blocks
from qdq_cli.targets.tensorrt.cost import weigh
from qdq_cli.targets.tensorrt.lint import lint
from qdq_cli.targets.tensorrt.page_graph import graph_of
from qdq_cli.targets.tensorrt.page_origin import origin_of, stored_channels
from tests.networks import Network


def model_of(net: Network, *outputs: str) -> ir.Model:
    model = from_proto(net.proto(*outputs))
    infer_shapes(model)
    return model


def drawn(model: ir.Model, *, findings: bool = False) -> Graph:
    simulation, cost = weigh(model, {})
    return graph_of(simulation, cost, origin_of(model), lint(model) if findings else ())


def residual() -> ir.Model:
    """A quantized block with a residual, a Softmax that stays float, and its stand-alone DQ."""
    net = Network()
    x = net.input("x", (1, 32, 8, 8))
    main = net.relu(net.conv(x, 32, "first"), "first_relu")
    main = net.conv(main, 32, "second")
    total = net.relu(net.add(net.pair(x), main, "sum"), "sum_relu")
    return model_of(net, net.op("Softmax", net.pair(total), name="soft"))


def names(graph: Graph) -> list[str]:
    return [node.name for node in graph.nodes]


def test_every_kernel_and_end_has_a_box():
    model = residual()
    graph, (simulation, _) = drawn(model), weigh(model, {})
    assert len(graph.nodes) == len(simulation.layers) + len(simulation.standalone) + 2
    assert {layer.name for layer in simulation.layers} <= set(names(graph))
    assert sum(node.shade is Shade.STANDALONE for node in graph.nodes) == len(simulation.standalone) > 0
    assert sum(node.shade is Shade.END for node in graph.nodes) == 2


def test_everything_is_connected_and_runs_down():
    graph = drawn(residual())
    assert all(edge.source < edge.target for edge in graph.edges)
    fed, feeding = {edge.target for edge in graph.edges}, {edge.source for edge in graph.edges}
    for place, node in enumerate(graph.nodes):
        assert place in fed or node.name == "graph input x", node
        assert place in feeding or node.name.startswith("graph output"), node


def test_a_kernel_says_what_is_known_of_it():
    graph = drawn(residual())
    kernel = next(node for node in graph.nodes if node.name == "first")
    assert (kernel.title, kernel.shade) == ("Conv + Relu", Shade.INT8)
    facts, more = dict(kernel.facts), dict(kernel.more)
    assert facts["computes in"] == "INT8"
    assert "x (1x32x8x8) as INT8" in facts["reads"]
    assert " to " in facts["range"] and "scale" in facts["range"]
    assert kernel.macs and facts["MACs"]
    assert more["rule"] and "first_relu" in more["nodes"]
    assert "Relu first_relu" in more["nodes"]
    assert any("QuantizeLinear" in member for member in kernel.members), "a search finds what it absorbs"


def test_a_stand_alone_kernel_says_its_reason_and_remedy():
    graph = drawn(residual())
    alone = [dict(node.facts) for node in graph.nodes if node.shade is Shade.STANDALONE]
    assert all(facts["because"] and facts["remedy"] for facts in alone)
    assert any("FLOAT_CONSUMER" in facts["kernel"] for facts in alone)


def test_codes_and_floats_are_told_apart():
    graph = drawn(residual())
    shades = {(names(graph)[edge.source], names(graph)[edge.target]): edge.shade for edge in graph.edges}
    assert shades["first", "second"] is Shade.INT8
    assert [shade for (_, target), shade in shades.items() if target == "soft"] == [Shade.FP32]


def test_findings_mark_the_kernel_of_their_node():
    net = Network()
    y = net.conv(net.input("x", (1, 32, 8, 8)), 32, "conv")
    graph = drawn(model_of(net, net.relu(net.pair(y), "relu")), findings=True)
    marked = [node for node in graph.nodes if node.mark is Mark.WARNING]
    assert marked
    assert any(label == "warning" and text.startswith("W_") for node in marked for label, text in node.facts)


def test_a_float_model_has_a_graph():
    net = Network()
    y = net.op("Softmax", net.input("x", (1, 8)), name="soft")
    graph = drawn(model_of(net, y))
    assert [node.shade for node in graph.nodes] == [Shade.END, Shade.FP32, Shade.END]
    assert len(graph.edges) == 2


def test_stored_scales_have_a_spread():
    rows = {row.label: row for row in stored_channels(residual())}
    assert {"first", "second"} <= set(rows)
    least, *_, most = rows["first"].quantiles
    assert 0 < least <= most


def chain(*names: str) -> tuple[tuple[Node, ...], tuple[Edge, ...]]:
    nodes = tuple(Node(name, "Conv", Shade.INT8) for name in names)
    return nodes, tuple(Edge(place, place + 1, "t", Shade.INT8) for place in range(len(nodes) - 1))


@pytest.mark.parametrize(
    ("names", "separator", "blocks"),
    [
        (("/a/b/Conv", "/a/c/Conv", "/d/Conv"), "/", [("a", "b"), ("a", "c"), ("d",)]),
        (("a.b.conv", "a.c.conv", "d.conv"), ".", [("a", "b"), ("a", "c"), ("d",)]),
        (("Conv_1", "Conv_2", "Conv_3"), "/", [(), (), ()]),
    ],
)
def test_blocks_are_what_names_say(names: tuple[str, ...], separator: str, blocks: list[tuple[str, ...]]):
    nodes, found = in_blocks(*chain(*names))
    assert ([node.block for node in nodes], found) == (blocks, separator)


def test_without_names_a_block_ends_where_one_tensor_goes_on():
    """Two residual blocks of two convolutions and an Add, between single convolutions."""
    nodes, edges = chain(*(f"n{place}" for place in range(8)))
    skips = (Edge(0, 3, "s", Shade.INT8), Edge(3, 6, "s", Shade.INT8))
    found, _ = in_blocks(nodes, (*edges, *skips))
    blocks = [node.block for node in found]
    assert blocks[1] == blocks[2] == blocks[3] != ()
    assert blocks[4] == blocks[5] == blocks[6] not in ((), blocks[1])
    assert blocks[0] == blocks[7] == ()
