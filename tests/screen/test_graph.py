"""A graph as HTML: data that say what the records say, safe whatever is in them."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qdq_cli.process.printable import printable
from qdq_cli.screen.anchors import id_of, values_of
from qdq_cli.screen.graph import Edge, Graph, Mark, Node, Shade, Twins
from qdq_cli.screen.page import Block, HistogramPlot, Histograms, Link, Page, Section, Table, Tone, Verdict
from qdq_cli.screen.render import render
from tests.screen.sample import Reader

NODES = (
    Node("a", "Conv", Shade.INT8, ("s", "t"), 10, 20, facts=(("reads", "x\ny"),), shows=(("Values", values_of("x")),)),
    Node("b", "Add", Shade.FP32, ("s",), mark=Mark.WARNING, more=(("rule", "It is."),), members=("b1", "b2")),
)
GRAPH = Graph(NODES, (Edge(0, 1, "x", Shade.INT8),))


def page_of(*blocks: Block) -> str:
    return render(Page("Title", "subtitle", (Section("Heading", "", blocks),)))


def data_of(html: str) -> dict:
    (text,) = re.findall(r'<script type="application/json">(.*?)</script>', html, flags=re.DOTALL)
    return json.loads(text)


def test_the_data_say_what_the_records_say():
    data = data_of(page_of(GRAPH))
    texts, (first, second) = data["texts"], data["nodes"]
    assert [texts[place] for place in first[:2]] == ["a", "Conv"]
    assert data["tones"][first[2]] == "int8"
    assert (first[4], first[5], texts[first[6]]) == (10, 20, "")
    assert [[texts[place] for place in row] for row in first[7]] == [["reads", "x", "y"]]
    assert [texts[place] for place in second[10]] == ["b1", "b2"]
    assert [[texts[place] for place in row] for row in second[9]] == [["rule", "It is."]]
    assert texts[second[6]] == "warning"
    assert [(parent, texts[name]) for parent, name in data["blocks"]] == [(-1, "s"), (0, "t")]
    assert (first[3], second[3]) == (1, 0)
    source, target, tensor, shade = data["edges"]
    assert (source, target, texts[tensor], data["tones"][shade]) == (0, 1, "x", "int8")


def test_each_text_is_there_once():
    texts = data_of(page_of(GRAPH))["texts"]
    assert len(texts) == len(set(texts))


def test_what_is_not_on_the_page_is_not_asked_for():
    plots = Histograms((HistogramPlot("x", 0, 1, (1.0, 2.0), anchor=values_of("x")),))
    html = page_of(GRAPH, plots)
    assert [data_of(html)["texts"][place] for place in data_of(html)["nodes"][0][8]] == [
        "Values",
        id_of(values_of("x")),
    ]
    assert id_of(values_of("x")) in Reader(html).values("id")
    assert data_of(page_of(GRAPH))["nodes"][0][8] == []


def test_the_policy_names_both_scripts_and_both_styles():
    (policy,) = [value for value in Reader(page_of(GRAPH)).values("content") if "default-src" in value]
    assert policy.count("sha256-") == 4
    assert "unsafe" not in policy


def test_a_graph_fetches_nothing():
    assert not re.search(r"https?:|//\w|url\(|@import|fetch|XMLHttp|import\(|innerHTML|eval\(", page_of(GRAPH))


@given(st.text())
def test_no_name_leaves_the_data(name: str):
    node = Node(name, name, Shade.INT8, (name,), facts=((name, name),), more=((name, name),), members=(name,))
    html = page_of(Graph((node, node), (Edge(0, 1, name, Shade.INT8),), title=name))
    Reader(html)
    (text,) = re.findall(r'<script type="application/json">(.*?)</script>', html, flags=re.DOTALL)
    assert text.isascii()
    assert not set("<>&") & set(text)
    texts = json.loads(text)["texts"]
    assert printable(name) in texts
    assert all(part == printable(part) for part in texts)


def test_two_graphs_have_names_of_their_own():
    reader = Reader(page_of(Twins(Graph(NODES, (), "INT8"), Graph(NODES, (), "FP8"))))
    ids = reader.values("id")
    assert len(ids) == len(set(ids)) == 3
    assert reader.tags.count("figure") == 2
    assert reader.tags.count("script") == 4, "two of data, one that draws both, one for tables"


def test_a_link_leads_to_the_box_of_a_graph():
    reader = Reader(page_of(GRAPH, Table(("layer",), ((Link("a +1", "a"),),))))
    assert reader.values("data-node") == ["a"]
    (href,) = [value for value in reader.values("href") if value != "#s1"]
    assert href.removeprefix("#") in reader.values("id")


@pytest.mark.parametrize("tone", [Tone.GOOD, Tone.WARNING, Tone.STANDALONE])
def test_a_verdict_says_what_to_look_at(tone: Tone):
    reader = Reader(page_of(GRAPH, Verdict(tone, "word", "The sentence.", (("first thing", "a"), ("second", "")))))
    assert "word The sentence." in " ".join(reader.text.split())
    assert reader.values("data-node") == ["a"]
    assert reader.tags.count("li") == 2
