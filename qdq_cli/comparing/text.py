"""A comparison as lines of text for people, 80 columns wide; the console prints them."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping

from calibrators.metrics import SQNR_CEILING_DB
from qdq_cli.comparing.low_outputs import in_order
from qdq_cli.comparing.match import Unmatched
from qdq_cli.comparing.record import Cause, Comparison, Kind, LayerError, Layers, Origin, TensorDistance
from qdq_cli.comparing.saturation import saturation_text
from qdq_cli.inspecting.text import names_text
from qdq_cli.quantizing.agreement import Standing, interval_text
from qdq_cli.quantizing.limits import to_decide, undecided_text
from qdq_cli.quantizing.low import judged_text, silent_text
from qdq_cli.quantizing.report import Distance
from qdq_cli.screen.amounts import decibels, share_text
from qdq_cli.screen.lines import WIDTH, Paint, elided, labelled, plain, row, wrapped
from qdq_cli.screen.sentences import count_text
from qdq_cli.timing.text import speed_lines

MAX_EXPLAINED = 3
"""Layers whose cause is told in a sentence; -v tells all."""

MAX_EXCLUDED = 2
"""Readers of a tensor that the line about what to try names."""

MAX_WIDENING = 2.0
"""Up to this factor a wider range is worth its coarser steps: it costs one bit."""

_NAME, _LAYER, _CAUSE = 27, 33, 24
_WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")


def comparison_lines(found: Comparison, top: int | None, paint: Paint = plain) -> list[str]:
    """Return the outputs, then the layers with most error of their own, why they err, and what to try.

    Args:
        found: The comparison.
        top: How many layers; None for every shared tensor, each with its cause in a sentence.
        paint: Colours a text.
    """
    lines = row("reference", found.reference) + row("quantized", found.quantized)
    lines += row("samples", f"{found.samples}; batch size {found.batch_size}")
    if found.preprocessing:
        lines += row("", found.preprocessing + (" (assumed; --preprocess chooses)" if found.assumed else ""))
    lines += ["", *_outputs(found), *_low(found), *_sure(found)]
    if found.speed is not None:
        lines += ["", *labelled("speed", speed_lines(found.speed, WIDTH, "the reference"))]
    if saturation := saturation_text(found):
        lines += ["", *row("saturation", saturation)]
    if found.layers is not None:
        lines += ["", *_layers(found.layers, top, paint), *_next(found.layers, found.reference)]
    return lines


def _outputs(found: Comparison) -> list[str]:
    scores = any(distance.top1_agreement is not None for distance in found.outputs.values())
    head = f"{'output':<{_NAME}} {'SQNR dB':>8} {'cosine':>9} {'max error':>10}"
    lines = [head + (f" {'top-1 %':>7} {'top-5 %':>7} {'KL':>6}" if scores else "")]
    for name in in_order(found.outputs, found.low):
        lines.append(_output(name, found.outputs[name]))
    lines += [f"{elided(name, _NAME):<{_NAME}} {rows}" for name, rows in found.rows.items()]
    for name in found.not_compared:
        lines.append(f"{elided(name, _NAME):<{_NAME}} not compared: its shape differs between the models")
    return lines


def _low(found: Comparison) -> list[str]:
    """Why outputs are low, with what helps, and how many samples say nothing."""
    texts = [
        f"'{name}': {'; '.join(filter(None, (judged_text(found.outputs[name]), low.text)))}"
        for name, low in found.low.items()
    ]
    lines = [line for place, text in enumerate(texts) for line in row("" if place else "low", text)]
    silent = [f"'{name}': {text}" for name in found.outputs if (text := silent_text(found.outputs[name]))]
    lines += [line for place, text in enumerate(silent) for line in row("" if place else "silent", text)]
    return ["", *lines] if lines else []


def _sure(found: Comparison) -> list[str]:
    """How sure the agreement is, and which limits are not decided by it."""
    texts = [*_shares(found.outputs)]
    texts += [
        f"{undecided_text(held)}. {to_decide(held)}" for held in found.limits if held.standing is Standing.UNDECIDED
    ]
    lines = [line for place, text in enumerate(texts) for line in row("" if place else "agreement", text)]
    return ["", *lines] if lines else []


def _shares(outputs: Mapping[str, Distance]) -> Iterator[str]:
    for name, distance in outputs.items():
        if distance.top1_agreement is not None and distance.top1_interval is not None:
            rows = count_text(distance.rows or 0, "row")
            yield (
                f"'{name}': {share_text(distance.top1_agreement)} of {rows} have the same best class; 95 % interval "
                f"{interval_text(distance.top1_interval)}"
            )


def _output(name: str, distance: Distance) -> str:
    sqnr = "equal" if distance.equal else f"{distance.sqnr_db:.1f}"
    line = f"{elided(name, _NAME):<{_NAME}} {sqnr:>8} {distance.cosine:>9.6f} {distance.max_error:>10.4g}"
    if distance.top1_agreement is not None:
        top5 = "" if distance.top5_agreement is None else f"{distance.top5_agreement:.1f}"
        divergence = "" if distance.softmax_kl is None else f"{distance.softmax_kl:.4f}"
        line += f" {distance.top1_agreement:>7.1f} {top5:>7} {divergence:>6}"
    return line.rstrip()


def _layers(layers: Layers, top: int | None, paint: Paint) -> list[str]:
    own = [layer for layer in layers.ranked if layer.local is not None]
    wrong = [layer for layer in own if layer.cause is not None]
    both = f"{layers.shared} of {layers.tensors} float tensors are in both models"
    lines = row("layers", f"{both}; {len(own)} are computed from quantized ones")
    lines += row("starts at", start_text(layers))
    if layers.not_compared:
        why = "they hold NaN or Inf, their size depends on the values, or no sample computes them"
        lines += row("not compared", f"{names_text(layers.not_compared)}: {why}")
    for reason, tensors in by_reason(layers.unmatched).items():
        lines += row("no partner", f"{names_text(tensors)}: {reason}")
    dead = [layer for layer in layers.ranked if layer.dead]
    if dead:
        names = names_text(layer.tensor for layer in dead)
        lines += row("dead", f"all zero as deployed, though not in FP32: {names}")
    listed = own or sorted(layers.ranked, key=lambda layer: layer.accumulated.sqnr_db)
    shown = list(layers.ranked) if top is None else listed[:top]
    lines += ["", f"{'local':>6}  {'accumulated':>11}  {'layer':<{_LAYER}}  cause"]
    for layer in shown:
        lines += _layer(layer, layers.start, paint) + (_sentence(layer) if top is None else [])
    if len(shown) < len(listed):
        lines.append(f"  ... and {count_text(len(listed) - len(shown), 'layer')} more (-v, --top)")
    lines += ["", "SQNR, dB. local: of the layer alone, fed FP32; accumulated: as deployed."]
    if any(layer.accumulated.is_of_nothing for layer in shown):
        lines.append("zero: FP32 is all zero there, so that there is nothing to hold an error against.")
    if top is not None and wrong:
        lines += ["", "why the worst err:"]
        lines += [line for layer in wrong[:MAX_EXPLAINED] for line in _explained(layer)]
    return lines


def by_reason(unmatched: Iterable[Unmatched]) -> dict[str, list[str]]:
    """Reason -> the tensors of the float model that have no partner for it."""
    found: dict[str, list[str]] = {}
    for entry in unmatched:
        found.setdefault(entry.reason, []).append(entry.tensor)
    return found


def start_text(layers: Layers) -> str:
    """Where the damage starts, in words."""
    first = next((layer for layer in layers.ranked if layer.tensor == layers.start), None)
    if all(layer.local is None for layer in layers.ranked):
        return "no layer: none is computed from quantized tensors"
    if first is None or first.local is None:
        return "no single layer: what there is adds up over many"
    if first.local.max_error is None:
        return f"{node_text(first)}: NaN or Inf come up there"
    channels = channels_text(first)
    return (
        f"{node_text(first)}: {decibels(first.local.sqnr_db)} by itself{f' ({channels})' if channels else ''}, "
        f"{decibels(first.accumulated.sqnr_db)} with all that comes before"
    )


def channels_text(layer: LayerError) -> str:
    """What a layer does to single channels, in a part of a sentence; "" where these say no more than the whole does."""
    found = layer.ruined_channels
    if found is None:
        return ""
    worst = "zero in FP32" if found.worst_sqnr_db <= -SQNR_CEILING_DB else f"at {decibels(found.worst_sqnr_db)}"
    ruined = f"{found.ruined} of {count_text(found.count, 'channel')} ruined"
    return f"{ruined}, channel {found.worst} {worst}; {decibels(found.sqnr_db)} with channels counted alike"


def _layer(layer: LayerError, start: str | None, paint: Paint) -> list[str]:
    local = "" if layer.local is None else sqnr_cell(layer.local)
    name = f"{_ended(node_text(layer), _LAYER):<{_LAYER}}"
    name = paint(name, "red") if layer.tensor == start else name
    return [f"{local:>6}  {sqnr_cell(layer.accumulated):>11}  {name}  {short_cause(layer.cause)[:_CAUSE]}".rstrip()]


def node_text(layer: LayerError) -> str:
    """The node that makes a tensor, with its operator where the name does not say it."""
    return layer.node if layer.op_type.lower() in layer.node.lower() else f"{layer.op_type} {layer.node}"


def _ended(name: str, width: int) -> str:
    """Shorten a name to a width: a path keeps its end, which tells blocks apart; any other both ends."""
    if "/" in name and len(name) > width:
        return f"...{name[3 - width :]}"
    return elided(name, width)


def sqnr_cell(distance: TensorDistance) -> str:
    """An SQNR, or a word where there is none."""
    if distance.sqnr_db >= SQNR_CEILING_DB:
        return "equal"
    if distance.sqnr_db > -SQNR_CEILING_DB:
        return f"{distance.sqnr_db:.1f}"
    return "zero" if distance.is_of_nothing else "NaN"


def short_cause(cause: Cause | None) -> str:
    """A cause in two words; "" for none."""
    if cause is None:
        return ""
    return cause.origin.value if cause.kind is Kind.UNKNOWN else f"{cause.origin.value}, {cause.kind.value}"


def _sentence(layer: LayerError) -> list[str]:
    return wrapped("; ".join(filter(None, ("" if layer.cause is None else layer.cause.text, channels_text(layer)))), 8)


def _explained(layer: LayerError) -> list[str]:
    cause = layer.cause
    assert cause is not None
    if cause.origin is Origin.EITHER:
        return wrapped(f"{node_text(layer)}: {cause.text}.")
    share = f"{cause.share_percent:.0f} % of its error is its {cause.origin.value}"
    channels = f" {found[:1].upper()}{found[1:]}." if (found := channels_text(layer)) else ""
    return wrapped(f"{node_text(layer)}: {share}. {cause.text[:1].upper()}{cause.text[1:]}.{channels}")


def _next(layers: Layers, reference: str) -> list[str]:
    why, *commands = advice(layers, reference) or ("",)
    return ["", *row("next", why), *(f"{'':14}{command}" for command in commands)] if why else []


def advice(layers: Layers, reference: str) -> tuple[str, ...]:
    """What to try about the layer where it starts, or the worst one: a sentence, then commands; () for no error."""
    order = sorted(layers.ranked, key=lambda layer: layer.tensor != layers.start)
    layer = next((layer for layer in order if layer.cause is not None), None)
    if layer is None or layer.cause is None:
        return ()
    options, why = _remedy(layer, layer.cause)
    written = "".join(f" {option}" for option in layers.written_as)
    return (why, *(f"qdq quantize {shlex.quote(reference)} --calib ...{written} {option}" for option in options))


def _remedy(layer: LayerError, cause: Cause) -> tuple[tuple[str, ...], str]:
    """Return the options of `qdq quantize` that go for a cause, the first one first, and a sentence."""
    nodes = (layer.node,) if layer.op_type in _WEIGHTED else layer.feeds[:MAX_EXCLUDED]
    keep = " ".join(f"--exclude {shlex.quote(node)}" for node in nodes)
    amax = cause.data_amax if cause.origin is Origin.ACTIVATION else None
    if cause.kind is Kind.OTHER_WEIGHTS:
        return (), (
            "These weights were changed. Where recovery did that, judge the model by its outputs; else compare with "
            "the model that was quantized."
        )
    too_wide = cause.range_amax is not None and amax is not None and amax > MAX_WIDENING * cause.range_amax
    if amax and (cause.kind is Kind.DEAD or (cause.kind is Kind.CLIPPING and not too_wide)):
        return (f"--range {shlex.quote(f'{cause.tensor}={amax:.4g}')}",), "Give the tensor the range it needs:"
    if cause.origin is Origin.WEIGHTS and cause.kind is Kind.WIDE_CHANNEL:
        return (), "Give the weights one scale an output channel."
    if layer.op_type in _WEIGHTED and _recoverable(cause):
        return ("--recover", keep), "Recover accuracy; where that is not enough, keep it float:"
    if layer.op_type in _WEIGHTED:
        return (keep,), "Keep it float, and see what comes next:"
    if nodes:
        return (keep,), "Keep what reads it float, and see what comes next:"
    return (), f"Leave '{cause.tensor or layer.tensor}' without Q/DQ."


def _recoverable(cause: Cause) -> bool:
    """Whether a step of recovery goes for the cause: equalization for a wide channel, rounding to the output else."""
    if cause.origin is Origin.WEIGHTS:
        return cause.kind in (Kind.ROUNDING, Kind.LARGE_IN_BLOCK)
    return cause.kind is Kind.WIDE_CHANNEL
