"""The page of `--report FILE.html`: one HTML file that fetches nothing, for a phone, for paper, without JavaScript too.

A command fills the records of `page` and writes them in one call; everything about HTML, colours and escaping is here:

    from qdq_cli.screen.page import Bar, Bars, Facts, Page, Section
    from qdq_cli.screen.render import check_page_target, write_page

    target = check_page_target(config.report, (config.model,))  # before the work: a wrong path fails at once
    facts = Facts((("model", "model.onnx"), ("samples", "16")))
    rows = (Bar("conv1", (38.2, 31.0)), Bar("conv2", (17.5, 16.9), "lowest"))
    bars = Bars("SQNR, dB", ("local", "accumulated"), rows)
    page = Page("Sensitivity", "model.onnx", (Section("Summary", "", (facts,)), Section("Layers", "", (bars,))))
    write_page(page, target)

| block | shows |
| --- | --- |
| `Facts` | labelled values |
| `Table` | rows of text, numbers to the right; a cell may be a `Badge`: a word with a colour (INT8, float) |
| `Bars` | one or two numbers a row, such as the local and the accumulated SQNR of every layer |
| `Histograms` | the values of any number of tensors, each with its amax and the share that it saturates |
| `BoxPlots` | quantiles of a set of positive numbers a row, such as the ranges of a weight's channels, with outliers |
| `Curve` | labelled points in two dimensions with one chosen: the frontier |
| `Note` | a sentence; one with `warning` stands out |

Names come from strangers' files: whatever is put into a record appears as text. Numbers may be NaN or Inf: they are
shown as a dash and drawn as nothing. The same page gives the same bytes, so times do not belong on it.
"""
