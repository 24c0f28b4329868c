"""Free names: unique, as wanted where that is free, and found without searching from the start each time."""

from __future__ import annotations

from qdq_cli.model.names import Names
from tests.networks import Network

MANY = 20_000


def names_of_a_graph() -> Names:
    net = Network()
    return Names(net.model(net.op("Relu", net.input("w_2", (2,)), name="relu")).graph)


def test_names_are_as_wanted_where_free_and_numbered_where_not():
    names = names_of_a_graph()
    assert [names.value("w") for _ in range(4)] == ["w", "w_1", "w_3", "w_4"]
    assert [names.node("relu"), names.node("relu"), names.node("w_2")] == ["relu_1", "relu_2", "w_2"]
    assert [names.value("w_1"), names.value("w_1")] == ["w_1_1", "w_1_2"]


def test_a_tensor_that_thousands_of_nodes_share():
    names = names_of_a_graph()
    assert len({names.value("shared") for _ in range(MANY)}) == MANY
    assert names.value("shared") == f"shared_{MANY}"
