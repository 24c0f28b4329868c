"""An inspection as lines of text for people, 80 columns wide; the console prints them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

from qdq_cli.config.forms import Gpu, TensorRT
from qdq_cli.inspecting.layer_text import STANDALONE, macs_share
from qdq_cli.inspecting.record import Inspection, Summary
from qdq_cli.quantizing.plan_text import next_rows, plan_lines, plan_rows
from qdq_cli.screen.amounts import share_text, short_count, size_text
from qdq_cli.screen.lines import WIDTH, Paint, labelled, plain, quoted, row, wrapped
from qdq_cli.screen.sentences import any_of, count_text, some_of
from qdq_cli.targets.tensorrt.cost_record import LayerCost
from qdq_cli.targets.tensorrt.findings import ALL, RULES, Finding, Severity
from qdq_cli.targets.tensorrt.gpus import GPUS, named
from qdq_cli.targets.tensorrt.precision import PRECISIONS, ElementType
from qdq_cli.targets.tensorrt.simulation import Layer, LayerKind, Reason, Standalone

MAX_NAMES = 3
MAX_FLOAT_LAYERS = 5
MAX_STANDALONE = 5
MIN_TRAFFIC_PERCENT = 1.0

REFUSED = "the model as it is; layers and costs are those of the model with the errors fixed."

EXPLAIN = "qdq explain CODE says what a code or a rule means, and what to do."


_COLOURS = {Severity.ERROR: "red", Severity.WARNING: "yellow", Severity.ADVICE: "blue"}


def summary_lines(inspection: Inspection, paint: Paint = plain, *, full: bool = False) -> list[str]:
    """Return the report that fits one screen: numbers, findings by code, stand-alone kernels, costly float layers.

    Args:
        inspection: What was found.
        paint: Colours a text.
        full: For a model without Q/DQ: list every target and skip of its plan.
    """
    lines = _numbers(inspection)
    if inspection.plan is not None:
        lines += plan_lines(inspection.plan, WIDTH, full=full)
    lines += _findings(inspection.findings, paint)
    lines += _standalone(inspection, paint)
    lines += _float_layers(inspection, paint)
    lines += _float_traffic(inspection, paint)
    lines += _findings(inspection.advice, paint)
    return lines + (["", EXPLAIN] if inspection.findings or inspection.advice else [])


def _numbers(inspection: Inspection) -> list[str]:
    kind = "Q/DQ model" if inspection.quantized else "planned; the rest is predicted for its result"
    size = size_text(inspection.size_bytes)
    lines = row("model", f"{inspection.model}  (opset {inspection.opset}, {size}, {kind})")
    if inspection.plan is not None:
        lines += plan_rows(inspection.plan, WIDTH)
    lines += [line for label, text in figures(inspection) for line in row(label, text)]
    return lines + _next(inspection)


def figures(inspection: Inspection) -> Iterator[tuple[str, str]]:
    """Yield what an inspection comes to, a labelled line each."""
    summary = inspection.summary
    yield "TensorRT", _releases(inspection)
    yield from _types(inspection)
    yield "cost", _cost(summary)
    if summary.traffic_bytes or summary.weight_bytes:
        yield "moved", _moved_by_type(summary)
    yield "GPU", _gpus(inspection)
    yield "stand-alone", _alone(summary)
    yield "findings", _counted(inspection)
    if summary.errors:
        yield "note", f"{_refusing(inspection)} {REFUSED}"


def _releases(inspection: Inspection) -> str:
    """Say which releases the report is about, and why not the others."""
    if inspection.trt is not None:
        return inspection.trt
    read = [release.value for release in inspection.releases]
    named = f"{read[0]} to {read[-1]}" if len(read) > 2 else " and ".join(read)
    if not inspection.newer_form:
        return named
    older = [release.value for release in TensorRT if release not in inspection.releases]
    verb = "does" if len(older) == 1 else "do"
    return f"{named} ({' and '.join(older)} {verb} not read {some_of(inspection.newer_form)})"


def _alone(summary: Summary) -> str:
    counts: dict[bool, list[str]] = {False: [], True: []}
    for code, count in summary.reasons.items():
        counts[Reason(code).is_boundary].append(f"{count} {code}")
    inside, boundary = (f" ({', '.join(found)})" if found else "" for found in counts.values())
    kernels = count_text(summary.standalone, "Q/DQ kernel")
    return f"{kernels} inside{inside}, {summary.boundary} at the boundary{boundary}"


def _refusing(inspection: Inspection) -> str:
    """Say which of the releases reported about refuse a model with errors: "TensorRT 8.4 and 8.6 refuse"."""
    errors = (entry for entry in inspection.findings if entry.severity is Severity.ERROR)
    found = {release for entry in errors for release in entry.profiles}
    names = [release.value for release in inspection.releases if release in found]
    if len(names) == len(ALL):
        return "TensorRT refuses"
    return f"TensorRT {' and '.join(names)} {'refuses' if len(names) == 1 else 'refuse'}"


def _counted(inspection: Inspection) -> str:
    """Count the findings, and say how many of them are shown as stand-alone kernels."""
    summary = inspection.summary
    alone = sum(entry.code.startswith(STANDALONE) for entry in inspection.findings)
    counts = f"{count_text(summary.errors, 'error')}, {count_text(summary.warnings, 'warning')}"
    return counts + (f" ({alone} of them stand-alone Q/DQ)" if alone else "")


def _next(inspection: Inspection) -> list[str]:
    """Return the row with the command to type next: a repair first, of a float model where the importer refuses it."""
    floats = inspection.plan is not None
    repairs = any(
        "`qdq fix`" in entry.fix and (entry.severity is Severity.ERROR or not floats) for entry in inspection.findings
    )
    if repairs:
        return labelled("next", [f"qdq fix {quoted(inspection.model)}"])  # whole, to be copied
    return next_rows(inspection.plan) if inspection.plan is not None else []


def _types(inspection: Inspection) -> Iterator[tuple[str, str]]:
    """Yield a row for each type of codes: how many weighted operators compute in it, or store their weights so."""
    summary = inspection.summary
    found = [entry for entry in summary.by_type if entry.weighted_ops and PRECISIONS[entry.type].is_quantized]
    alone = [entry for entry in summary.by_type if entry.weights_alone]
    whole = count_text(summary.weighted_ops, "weighted operator")
    if not summary.weighted_ops:
        yield "INT8", "no weighted operators"
    elif not found and not alone:
        yield "INT8", f"0 of {whole}, 0 of them write INT8 too"
    for entry in found:
        writing = sum(_writes_codes(layer, entry.type) for layer in inspection.layers)
        yield entry.type, f"{entry.weighted_ops} of {whole}, {writing} of them write {entry.type} too"
    for entry in alone:
        weights = [layer.weight for layer in inspection.layers if layer.weight is not None]
        made = sum(weight.made_float and weight.precision.value == entry.type for weight in weights)
        more = f"; a kernel of its own makes {made} of them float first" if made else ""
        yield f"{entry.type} weights", f"{entry.weights_alone} of {whole}, which compute in float{more}"


def _writes_codes(layer: Layer, kind: str) -> bool:
    is_weighted = layer.kind is LayerKind.WEIGHTED and layer.precision.value == kind
    return is_weighted and layer.output_type is not ElementType.FLOAT


def _cost(summary: Summary) -> str:
    types = coded_types(summary)
    parts = []
    if summary.quantized_macs_percent is not None:
        whole = "the" if summary.unknown_macs else short_count(summary.macs)
        parts.append(f"{share_text(summary.quantized_macs_percent)} of {whole} MACs")
    if summary.quantized_traffic_percent is not None:
        share = share_text(summary.quantized_traffic_percent)
        parts.append(f"{share} of {short_count(summary.traffic_elements)} activation elements moved")
    text = " and ".join(parts) + f" in {types}" if parts else "unknown"
    if not summary.unknown_costs:
        return text + (", one sample" if summary.batch_is_symbolic and parts else "")
    unknown = f"unknown for {count_text(summary.unknown_costs, 'kernel')} of unknown shape (--input-shape)"
    return f"{unknown}; {text} of those that are known" if parts else unknown


def coded_types(summary: Summary) -> str:
    """Name the types that products compute in; INT8 where none does."""
    found = [entry.type for entry in summary.by_type if entry.macs and PRECISIONS[entry.type].is_quantized]
    return " and ".join(found) or "INT8"


def _moved_by_type(summary: Summary) -> str:
    """Say how many bytes kernels move, and the weights have, with the share of each type."""
    traffic = {entry.type: entry.traffic_bytes for entry in summary.by_type if entry.traffic_bytes}
    weights = {entry.type: entry.weight_bytes for entry in summary.by_type if entry.weight_bytes}
    parts = [(traffic, summary.traffic_bytes, "activations"), (weights, summary.weight_bytes, "weights")]
    return "; ".join(f"{size_text(whole)} of {noun} ({_shares(found, whole)})" for found, whole, noun in parts if whole)


def _shares(found: Mapping[str, int], whole: int) -> str:
    if len(found) == 1:
        return next(iter(found))
    return ", ".join(f"{kind} {share_text(100 * size / whole)}" for kind, size in found.items())


def _gpus(inspection: Inspection) -> str:
    """Say which GPUs have units for every type, and for which types others have none."""
    if inspection.gpu is not None:
        lacking = [need.type for need in inspection.types if inspection.gpu not in need.gpus]
        return named(Gpu(inspection.gpu)) + (f", which has no {any_of(lacking)}" if lacking else "")
    able = [gpu for gpu in GPUS if all(gpu.value in need.gpus for need in inspection.types)]
    picky = [need.type for need in inspection.types if len(need.gpus) < len(GPUS)]
    if not able:
        return "none has units for all of " + ", ".join(picky)
    newer = f"{able[0].value} ({GPUS[able[0]].architecture}) and newer" if len(able) > 1 else named(able[0])
    return newer + (f", for {' and '.join(picky)}" if picky else "")


def _findings(findings: Iterable[Finding], paint: Paint) -> list[str]:
    by_code: dict[str, list[Finding]] = defaultdict(list)
    for entry in findings:
        if not entry.code.startswith(STANDALONE):  # these have a section of their own
            by_code[entry.code].append(entry)
    lines = []
    for code in sorted(by_code, key=list(RULES).index):
        entries = by_code[code]
        severity = entries[0].severity
        versions = {version.value for entry in entries for version in entry.profiles}
        held = "" if len(versions) == len(ALL) else f"  TensorRT {', '.join(sorted(versions, key=float))}"
        lines += ["", f"{paint(code, _COLOURS[severity])}  {len(entries)}x  rule {entries[0].rule}{held}"]
        lines += wrapped(f"at {names_text(entry.node for entry in entries)}")
        lines += wrapped(f"found: {names_text((entry.found for entry in entries), separator='; ')}")
        lines += wrapped(f"expected: {entries[0].expected}")
        label = "advice" if severity is Severity.ADVICE else "fix"
        for fix in dict.fromkeys(entry.fix for entry in entries):
            lines += wrapped(f"{label}: {fix}")
    return lines


_Alone = tuple[Standalone, LayerCost]


def _standalone(inspection: Inspection, paint: Paint) -> list[str]:
    """Show the stand-alone kernels inside the network; those that one remedy would remove stand together."""
    kinds: dict[tuple[str, ...], list[_Alone]] = defaultdict(list)
    for found, cost in zip(inspection.standalone, inspection.standalone_costs, strict=True):
        if not found.reason.is_boundary:
            kinds[found.op_type, found.reason.value, found.remedy, found.uncertain].append((found, cost))
    if not kinds:
        return []
    ranked = sorted(kinds.values(), key=_most_traffic)
    lines = ["", "stand-alone Q/DQ kernels inside the network, most traffic first:"]
    for kind in ranked[:MAX_STANDALONE]:
        lines += _standalone_lines(sorted(kind, key=lambda entry: _most_traffic([entry])), paint)
    left = ranked[MAX_STANDALONE:]
    if left:
        kernels = sum(map(len, left))
        lines.append(f"  ... and {kernels} more of {count_text(len(left), 'other kind')} (--layers, --json)")
    return lines


def _most_traffic(kernels: list[_Alone]) -> tuple[bool, int]:
    """Order by traffic; what is not known comes first: dimensions that are left open are those of pictures."""
    sizes = [cost.size_bytes for _, cost in kernels]
    return None not in sizes, -sum(size or 0 for size in sizes)


def _standalone_lines(kernels: list[_Alone], paint: Paint) -> list[str]:
    found, cost = kernels[0]
    kind = f"{'Q' if found.op_type == 'QuantizeLinear' else 'DQ'} {found.reason.value}"
    if len(kernels) == 1:
        lines = _heading(kind, found.nodes[0], _moved([cost]), "red", paint) + wrapped(found.because, 4)
    else:
        lines = [f"  {paint(kind, 'red')}  {len(kernels)}x  {_moved([cost for _, cost in kernels])}"]
        for found, cost in kernels[:MAX_NAMES]:
            lines += [f"    {found.nodes[0]}", *wrapped(f"{_moved([cost])}: {found.because}", 6)]
        if len(kernels) > MAX_NAMES:
            lines.append(f"    ... and {len(kernels) - MAX_NAMES} more of them (--layers, --json)")
    lines += wrapped(f"fix: {found.remedy}", 4)
    return lines + (wrapped(f"uncertain: {found.uncertain}", 4) if found.uncertain else [])


def _moved(costs: Iterable[LayerCost]) -> str:
    sizes = [cost.size_bytes for cost in costs]
    return "unknown size" if None in sizes else size_text(sum(size or 0 for size in sizes))


def _heading(kind: str, name: str, figure: str, colour: str, paint: Paint) -> list[str]:
    """Return a kernel's kind, name and figure, a long name on a line of its own: whole, as --node takes it."""
    if len(f"  {kind}  {name}  {figure}") <= WIDTH:
        return [f"  {paint(kind, colour)}  {name}  {figure}"]
    return [f"  {paint(kind, colour)}  {figure}", f"    {name}"]


def _float_layers(inspection: Inspection, paint: Paint) -> list[str]:
    """Rank the weighted layers that stay float by what they cost."""
    costs = zip(inspection.layers, inspection.layer_costs, strict=True)
    floats = [(layer, cost) for layer, cost in costs if not layer.quantized and _forms_products(layer, cost)]
    if not floats:
        return []
    floats.sort(key=lambda pair: -(pair[1].macs or 0))
    lines = ["", "weighted operators that stay float, most multiply-accumulates first:"]
    for layer, cost in floats[:MAX_FLOAT_LAYERS]:
        share = macs_share(cost.macs, inspection.summary.macs)
        lines += _heading(layer.op_type, layer.name, share, "blue", paint)
        lines += wrapped(layer.because[0], 4) if layer.because else []
    if len(floats) > MAX_FLOAT_LAYERS:
        lines.append(f"  ... and {len(floats) - MAX_FLOAT_LAYERS} more (--layers)")
    return lines


def _forms_products(layer: Layer, cost: LayerCost) -> bool:
    """Say whether a layer is a weighted operator, or holds some in its bodies."""
    return layer.kind is LayerKind.WEIGHTED or cost.macs != 0


def _float_traffic(inspection: Inspection, paint: Paint) -> list[str]:
    """Rank the other layers that stay float by the activations they move, where that is a share worth a line.

    With some shapes unknown, a share of the rest would say nothing.
    """
    whole = 0 if inspection.summary.unknown_costs else inspection.summary.traffic_elements
    costs = zip(inspection.layers, inspection.layer_costs, strict=True)
    floats = [
        (100 * cost.float_elements / whole, layer)
        for layer, cost in costs
        if not layer.quantized and not _forms_products(layer, cost) and cost.float_elements and whole
    ]
    shown = sorted((entry for entry in floats if entry[0] >= MIN_TRAFFIC_PERCENT), key=lambda entry: -entry[0])
    if not shown:
        return []
    lines = ["", "other layers that stay float, most activation traffic first:"]
    for share, layer in shown[:MAX_FLOAT_LAYERS]:
        lines += _heading(layer.op_type, layer.name, f"{share_text(share)} of the traffic", "blue", paint)
    rest = sum(share for share, _ in shown[MAX_FLOAT_LAYERS:])
    if rest:
        lines.append(f"  ... and {len(shown) - MAX_FLOAT_LAYERS} more with {share_text(rest)} (--layers)")
    return lines


def names_text(names: Iterable[str], separator: str = ", ") -> str:
    """Write the first few of some names, and how many more there are."""
    unique = list(dict.fromkeys(name for name in names if name))
    more = f"{separator}... ({len(unique) - MAX_NAMES} more)" if len(unique) > MAX_NAMES else ""
    return separator.join(unique[:MAX_NAMES]) + more if unique else "the model"
