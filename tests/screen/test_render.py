"""A page is one well-formed file that fetches nothing, whatever is in its records."""

from __future__ import annotations

import math
import os
import re
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from qdq_cli.process.errors import UsageError
from qdq_cli.process.printable import printable
from qdq_cli.screen.drawing import linear_ticks, log_ticks
from qdq_cli.screen.page import (
    Badge,
    Bar,
    Bars,
    Block,
    BoxPlots,
    BoxRow,
    Curve,
    Facts,
    HistogramPlot,
    Histograms,
    Note,
    Page,
    Point,
    Section,
    Table,
    Tone,
)
from qdq_cli.screen.page_target import check_page_target
from qdq_cli.screen.page_text import number, percent
from qdq_cli.screen.render import render, write_page
from tests.screen.sample import Reader, full_page, plot


def page_of(*blocks: Block) -> Page:
    return Page("Title", "subtitle", (Section("Heading", "Intro.", blocks),))


def read(*blocks: Block) -> Reader:
    return Reader(render(page_of(*blocks)))


# the whole page


def test_a_page_with_every_block_is_well_formed():
    reader = Reader(render(full_page()))
    ids = reader.values("id")
    assert len(ids) == len(set(ids)) == 8
    assert {f"#{name}" for name in ids} == set(reader.values("href"))
    assert "Nothing to show." in reader.text


def test_a_page_fetches_nothing():
    html = render(full_page())
    reader = Reader(html)
    assert not {"link", "img", "iframe", "object", "embed", "base", "form", "image", "use"} & set(reader.tags)
    names = {name for _, name, _ in reader.attributes}
    assert not {"src", "srcset", "action", "data", "style"} & names
    assert not [name for name in names if name.startswith("on")]
    assert all(value.startswith("#") for value in reader.values("href"))
    assert not re.search(r"https?:|//\w|url\(|@import|fetch|XMLHttp|import\(", html)


def test_the_policy_allows_only_the_scripts_and_styles_of_the_page():
    (policy,) = [value for value in Reader(render(full_page())).values("content") if "default-src" in value]
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    assert policy.count("sha256-") == 2


def test_a_page_adapts():
    html = render(full_page())
    for needed in ('name="viewport"', "prefers-color-scheme: dark", "@media print", 'lang="en"', 'charset="utf-8"'):
        assert needed in html


def test_the_same_page_gives_the_same_bytes():
    assert render(full_page()) == render(full_page())


def test_a_page_without_sections_is_one():
    assert "Title" in Reader(render(Page("Title", "", ()))).text


EMPTY: list[Block] = [
    Facts(()),
    Table(("a",), ()),
    Bars("dB", ("a",), ()),
    Histograms(()),
    BoxPlots("amax", ()),
    Curve("x", "y", ()),
]


@pytest.mark.parametrize("block", EMPTY, ids=lambda block: type(block).__name__)
def test_an_empty_block_says_so(block: Block):
    assert "Nothing to show." in read(block).text


# what strangers put into names

HOSTILE = ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "</style></script><b>", "&lt;b&gt;", "'`${x}"]


def blocks_about(name: str) -> list[Block]:
    return [
        Facts(((name, name), (name, Badge(name)))),
        Table((name,), ((name,), (Badge(name),)), caption=name),
        Bars(name, (name, name), (Bar(name, (1.0, 2.0), name),)),
        Bars(name, (name,), (Bar(name, (1.0,), name),)),
        Histograms((HistogramPlot(name, 0, 1, (1, 2), 0.5, 0.1, name),)),
        BoxPlots(name, (BoxRow(name, (1, 2, 3, 4, 5), ((name, 6),), name),)),
        Curve(name, name, (Point(0, 1, name),), 0),
        Note(name),
    ]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_is_text(name: str):
    harmless = Reader(render(Page("x", "x", (Section("x", "x", tuple(blocks_about("x"))),))))
    reader = Reader(render(Page(name, name, (Section(name, name, tuple(blocks_about(name))),))))
    assert [tag for tag in reader.tags if tag != "wbr"] == harmless.tags
    assert [(tag, key) for tag, key, _ in reader.attributes] == [(tag, key) for tag, key, _ in harmless.attributes]
    assert reader.texts.count(name) == harmless.texts.count("x") > 10


@pytest.mark.parametrize("name", ["\x00\x07", "line\u2028end", "\udcff.onnx", "\u202egnp.exe", "\ufeff"])
def test_letters_that_cannot_be_printed_are_shown_as_such(name: str):
    html = render(page_of(*blocks_about(name)))
    html.encode("utf-8")
    assert name not in html
    assert printable(name) in Reader(html).text


@given(st.text(max_size=30))
def test_any_name_leaves_the_page_well_formed(name: str):
    Reader(render(page_of(*blocks_about(name))))


# numbers

ODD = [math.nan, math.inf, -math.inf, 0.0, -0.0, 5e-324, 1.7e308, -1.7e308, 1e-30]


def numeric_blocks(a: float, b: float) -> tuple[Block, ...]:
    return (
        Bars("dB", ("one", "two"), (Bar("x", (a, b)), Bar("y", (b, None)))),
        Histograms((HistogramPlot("t", a, b, (a, b, 1.0), b, a), HistogramPlot("t", 0, 1, (1.0, 2.0), a, b))),
        BoxPlots("amax", (BoxRow("w", (a, a, b, b, b), (("c", a),)), BoxRow("v", (1, 2, 3, 4, 5)))),
        Curve("x", "y", (Point(a, b, "p"), Point(b, a, "q"), Point(a, a, "r")), 1),
    )


def shown_numbers_are_finite(*blocks: Block) -> bool:
    html = render(page_of(*blocks)).partition("<main>")[2].partition("</main>")[0]
    return re.search(r"(?i)\b(nan|inf|infinity)\b|nan%|inf%", html) is None


@pytest.mark.parametrize("a", ODD)
@pytest.mark.parametrize("b", ODD)
def test_odd_numbers_are_never_drawn_as_such(a: float, b: float):
    assert shown_numbers_are_finite(*numeric_blocks(a, b))


@given(st.floats(), st.floats())
def test_any_numbers_can_be_shown(a: float, b: float):
    assert shown_numbers_are_finite(*numeric_blocks(a, b))


def test_numbers_are_short():
    shown = [number(value) for value in (0.0, -0.0, 1.0, 12.3456, 123456.0, 1e-5, math.nan, None)]
    assert shown == ["0", "0", "1", "12.35", "1.23e+05", "1e-05", "-", "-"]


def test_a_share_that_is_not_zero_does_not_look_like_zero():
    assert [percent(share) for share in (0.0, 1e-9, 0.00012, 0.5, 1.0)] == [
        "0 %",
        "1e-07 %",
        "0.012 %",
        "50 %",
        "100 %",
    ]


@example(low=812981335.2390234, extent=1e-06)
@given(st.floats(-1e9, 1e9), st.floats(1e-6, 1e9))
def test_ticks_lie_inside_and_are_few(low: float, extent: float):
    ticks = linear_ticks(low, low + extent) if low + extent > low else []
    assert len(ticks) <= 8
    assert all(low - extent * 1e-6 <= tick <= low + extent * (1 + 1e-6) for tick in ticks)


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0.5, 3, [0.5, 1, 2]),
        (0.001, 1.4, [0.001, 0.01, 0.1, 1]),
        (1e-9, 1, [1e-9, 1e-7, 1e-5, 1e-3, 0.1]),
        (1.1, 1.9, []),
    ],
)
def test_logarithmic_ticks_are_round(low: float, high: float, ticks: list[float]):
    assert log_ticks(low, high) == pytest.approx(ticks)


# the blocks


def test_a_long_name_breaks_where_its_parts_end_and_stays_one_text():
    name = "/blocks/blocks.0/norm_1/LayerNormalization_output_0"
    text = render(page_of(Bars("dB", ("x",), (Bar(name, (1.0,)), Bar("short/name", (1.0,))))))
    assert "/<wbr>blocks/<wbr>blocks.<wbr>0/<wbr>norm_<wbr>1/<wbr>LayerNormalization_<wbr>output_<wbr>0</span>" in text
    assert "<span>short/name</span>" in text
    assert name in read(Bars("dB", ("x",), (Bar(name, (1.0,)),))).texts


def test_cells_of_many_columns_carry_their_heading():
    """On a phone they are set below each other, as the headings of a row that is wider are out of sight."""
    wide = render(page_of(Table(("a", "b", "c", "d"), (("1", "2", "3", "4"),))))
    assert '<table class="folds">' in wide and '<td data-of="d">4</td>' in wide and "<td>1</td>" in wide
    assert "data-of=" not in render(page_of(Table(("a", "b", "c"), (("1", "2", "3"),)))).partition("</style>")[2]


def test_no_difference_is_a_word():
    reader = read(Bars("SQNR, dB", ("x",), (Bar("same", (200.0,)), Bar("other", (30.0,))), most=80.0, equal=200.0))
    assert "equal" in reader.texts and "200" not in reader.texts


def test_facts_show_lines_and_badges():
    reader = read(Facts((("calibration", "mse\n64 samples"), ("state", Badge("INT8", Tone.INT8)))))
    assert [text for text in reader.texts if text in ("mse", "64 samples", "INT8")] == ["mse", "64 samples", "INT8"]
    assert "badge int8" in reader.values("class")


def test_a_table_sets_numbers_right_and_marks_rows():
    reader = read(Table(("a", "n"), (("x", "1"), ("y", "2")), frozenset((1,)), frozenset((1,))))
    classes = [(tag, value) for tag, name, value in reader.attributes if name == "class"]
    assert classes.count(("td", "num")) == 2
    assert classes.count(("th", "num")) == 1
    assert classes.count(("tr", "mark")) == 1


def test_a_row_that_is_too_short_is_a_mistake():
    with pytest.raises(ValueError, match="zip"):
        render(page_of(Table(("a", "b"), (("x",),))))


def test_bars_share_one_scale():
    reader = read(Bars("dB", ("a",), (Bar("x", (10.0,)), Bar("y", (40.0,)), Bar("z", (None,)))))
    assert reader.values("width") == ["25%", "100%"]
    assert [text for text in reader.texts if text in ("10", "40", "-")] == ["10", "40", "-"]


def test_a_bar_that_stands_out_is_marked():
    rows = (Bar("calm", (2.0,)), Bar("loud", (1.0,), "why", stands_out=True))
    text = render(page_of(Bars("dB", ("x",), rows)))
    assert '<li class="mark"><span>loud</span>' in text and text.count('class="mark"') == 1


def test_bars_below_zero_reach_to_the_left_of_it():
    reader = read(Bars("dB", ("a",), (Bar("x", (-10.0,)), Bar("y", (30.0,)))))
    assert [value for tag, name, value in reader.attributes if (tag, name) == ("rect", "x")] == ["0%", "25%"]


def test_equal_outputs_do_not_squash_the_other_bars():
    reader = read(Bars("SQNR, dB", ("a",), (Bar("x", (200.0,)), Bar("y", (30.0,))), most=60.0))
    assert reader.values("width")[-2:] == ["100%", "50%"]
    assert "200" in reader.texts


def test_two_series_are_named_by_place_and_not_by_colour_alone():
    text = read(Bars("SQNR, dB", ("local", "accumulated"), (Bar("x", (1.0, 2.0)),))).text
    assert "local (upper)" in text
    assert "accumulated (lower)" in text
    assert "1 / 2" in text


def test_a_histogram_shows_the_range_and_what_it_clips():
    reader = read(Histograms((plot("first"), plot("second", 1, amax=9.0), plot("third", 2, amax=None))))
    assert "amax 1, 0.012 % clipped" in reader.text
    assert "no range chosen" in reader.text
    assert reader.values("class").count("amax") == 2  # -1 and 1 of the first; 9 lies beyond all values of the second
    assert reader.values("open") == [""]


def test_a_range_inside_the_values_is_shaded_outside():
    reader = read(Histograms((HistogramPlot("t", -2.0, 2.0, (1.0,) * 80, 1.0, 0.5),)))
    assert [value for tag, name, value in reader.attributes if (tag, name) == ("rect", "width")] == ["20.00", "20.00"]


def test_the_outline_of_a_histogram_is_compact_and_never_hides_a_value():
    reader = read(Histograms((HistogramPlot("t", 0, 1, (0, 0, 1, 1, 10**9), 1.0),)))
    (outline,) = [value for value in reader.values("d") if value.startswith("M0 100V")]
    assert outline == "M0 100V100h2V96h2V0h1V100z"


def test_box_plots_place_on_a_logarithmic_axis():
    reader = read(BoxPlots("amax", (BoxRow("w", (1, 10, 100, 1000, 10000), (("channel 7", 100.0),), "64 channels"),)))
    box = [value for tag, name, value in reader.attributes if tag == "rect" and name in ("x", "width")]
    assert box == ["25.00%", "50.00%"]
    assert [value for tag, name, value in reader.attributes if (tag, name) == ("circle", "cx")] == ["50.00%"]
    assert "outliers: channel 7 100; 64 channels" in reader.text


def test_a_curve_lists_its_points_and_marks_the_chosen_one():
    reader = read(Curve("share, %", "SQNR, dB", (Point(0, 60, "float"), Point(100, 12, "INT8")), 1))
    assert reader.values("class").count("chosen") == 1
    assert "chosen" in reader.text
    assert [text for text in reader.texts if text in ("float", "INT8")] == ["float", "INT8"]


def test_a_note_that_warns_says_so_in_words():
    assert "Warning:" in read(Note("Low.", warning=True)).text


# the file


def test_a_page_replaces_an_older_one_and_leaves_nothing_else(tmp_path: Path):
    target = tmp_path / "page.html"
    target.write_text("old", encoding="utf-8")
    write_page(full_page(), target)
    assert target.read_bytes() == render(full_page()).encode("utf-8")
    assert list(tmp_path.iterdir()) == [tmp_path / "page.html"]


def test_a_link_to_a_page_stays_one(tmp_path: Path):
    (tmp_path / "real.html").write_text("old", encoding="utf-8")
    (tmp_path / "link.html").symlink_to("real.html")
    write_page(full_page(), tmp_path / "link.html")
    assert (tmp_path / "link.html").is_symlink()
    assert "Sample" in (tmp_path / "real.html").read_text(encoding="utf-8")


def test_a_page_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path):
    target = tmp_path / "taken.html"
    target.mkdir()
    with pytest.raises(UsageError, match="cannot be written"):
        write_page(full_page(), target)
    assert list(tmp_path.iterdir()) == [tmp_path / "taken.html"]


def test_a_target_is_checked_before_the_work(tmp_path: Path):
    model = tmp_path / "model.onnx"
    model.write_bytes(b"x")
    (tmp_path / "link.html").symlink_to("model.onnx")
    (tmp_path / "null.html").symlink_to(os.devnull)
    (tmp_path / "folder.html").mkdir()
    cases = {
        model: "is no page",
        tmp_path / "link.html": "is another file of this run",
        tmp_path / "folder.html": "is a folder",
        tmp_path / "none" / "page.html": "does not exist",
        tmp_path / "null.html": "a device or a pipe",
    }
    for path, found in cases.items():
        with pytest.raises(UsageError, match=found):
            check_page_target(path, (model,))
    assert check_page_target(tmp_path / "page.html", (model,)) == tmp_path / "page.html"
