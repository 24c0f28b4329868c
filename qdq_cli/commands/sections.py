"""How the help sorts options: by task, and by whether everybody, some people or hardly anybody needs them.

`-h` shows the common options, `--help` all. An option for experts stands in a section of its own, and names what
`qdq explain` says about it. Whoever writes pages about the options reads these tables too.
"""

from __future__ import annotations

from collections.abc import Mapping

import click

Sections = Mapping[str, tuple[click.Option, ...]]
"""Title -> options, in the order of the help."""

TITLES = (
    "Data",
    "Running",
    "What to look at",
    "Measurement",
    "What to quantize",
    "Ranges",
    "Recovery",
    "Output",
    "Views",
    "Limits",
    "For experts",
    "Display",
    "Settings",
    "Help",
)
"""Every section that a command can have, in this order."""

_EXPERTS, HELP = TITLES[-4], TITLES[-1]

COMMON = frozenset(
    {
        "--calib", "--data", "--preprocess", "--samples", "--input-shape",
        "--exclude", "--method", "--cache", "--recover",
        "--output", "--target", "--trt", "--gpu", "--float-type", "--report", "--dry-run",
        "--layers", "--node", "--against", "--append", "--format", "--model", "--plot", "--layer-info",
        "--min-sqnr", "--min-agreement", "--min-int8-macs", "--tune", "--fail-on", "--max-standalone", "--max-drop",
        "--eval", "--max-drift", "--time", "--yes", "--json", "--quiet", "--verbose",
    }
)  # fmt: skip
"""Options that `-h` shows, of whatever command."""

TOPICS: Mapping[str, str] = {
    "--per-tensor-weights": "1.3",
    "--deconv-per-channel": "9, item 1",
    "--mha": "3.3",
    "--attention-rules": "LONG_ATTENTION",
    "--group-rules": "GROUP_ALIGN",
    "--channel-rules": "FEW_CHANNELS",
    "--gemv-rules": "GEMV",
    "--range-rules": "WIDE_RANGE",
    "--residuals": "RESIDUAL_OFF",
    "--residual-stream": "3.2, case 5",
    "--pooling": "POOL_OFF",
    "--safe": "9, item 10",
    "--block-size": "7",
    "--percentile": "methods",
    "--recover-step": "recovery",
    "--exclude-after-recovery": "recovery",
    "--form": "forms",
    "--scale-type": "W_SCALE_DTYPE",
    "--deconv-absorbs-q": "9, item 2",
    "--shard": "shares",
    "--dask": "shares",
    "--all-tensors": "6.1",
    "--algo": "6.2",
}
"""Option for experts -> what `qdq explain` says about it."""


def name_of(option: click.Option) -> str:
    """Return the long name of an option, the one that turns it on."""
    return next(name for name in option.opts if name.startswith("--"))


def is_common(option: click.Option) -> bool:
    """Whether `-h` shows an option."""
    return option.required or name_of(option) in COMMON


def sorted_sections(sections: Sections) -> dict[str, tuple[click.Option, ...]]:
    """Put the options for experts into their section, and the sections into their order."""
    assert set(sections) <= set(TITLES)
    for_experts = tuple(option for options in sections.values() for option in options if name_of(option) in TOPICS)
    found = {title: tuple(o for o in options if o not in for_experts) for title, options in sections.items()}
    found[_EXPERTS] = for_experts
    return {title: found[title] for title in TITLES if found.get(title)}
