"""`qdq_cli.inspect`: what `qdq inspect` does, for models in memory."""

from __future__ import annotations

from qdq_cli.calls.listening import OnNote, Told
from qdq_cli.calls.place import Place
from qdq_cli.calls.records import InputShape, Keywords, Model, Names, record_of, shapes_of
from qdq_cli.config.forms import Gpu, TensorRT
from qdq_cli.config.inspect import Gates, InspectConfig
from qdq_cli.config.placement import PlanConfig
from qdq_cli.inspecting.inspect import Inspection, inspect_model, require_gates


def inspect(
    model: Model,
    *,
    trt: TensorRT | str | None = None,
    plugins: Names = (),
    gpu: Gpu | str | None = None,
    input_shape: InputShape = (),
    deconv_absorbs_q: bool = False,
    fail_on: Names = (),
    max_standalone: int | None = None,
    min_int8_macs: float | None = None,
    exclude: Names = (),
    exclude_op: Names = (),
    only: Names = (),
    skip_first: bool = False,
    skip_last: bool = False,
    per_tensor_weights: bool = False,
    deconv_per_channel: bool = False,
    mha: bool | None = None,
    attention_rules: bool = True,
    group_rules: bool = True,
    channel_rules: bool = True,
    gemv_rules: bool = True,
    range_rules: bool = True,
    residuals: bool = True,
    residual_stream: bool = False,
    pooling: bool = True,
    safe: bool = False,
    on_note: OnNote | None = None,
) -> Inspection:
    """Say what TensorRT would do with a model; for one without Q/DQ, with the result of its plan.

    Args:
        model: As `quantize` takes it.
        trt: Report only what holds for this TensorRT.
        plugins: Custom operators that the deployment has plugins for: a name, or `domain::name`.
        gpu: Report which types this GPU lacks.
        input_shape: Sizes of dynamic dimensions, so that costs are known: (1, 3, 640, 640), or a dict of such by input.
        deconv_absorbs_q: Assume that ConvTranspose with an activation absorbs the Q behind it.
        fail_on, max_standalone, min_int8_macs: Limits (`Gates`).
        exclude, exclude_op, only, skip_first, skip_last, per_tensor_weights, deconv_per_channel, mha, attention_rules,
            group_rules, channel_rules, gemv_rules, range_rules, residuals, residual_stream, pooling, safe: Which
            operators would be quantized (`PlanConfig`).
        on_note: Told each note as it comes.

    Returns:
        What was found.

    Raises:
        LimitError: A limit is not met.
        QdqError: The model cannot be used.
    """
    return _inspected(model, locals())


def _inspected(model: Model, given: Keywords) -> Inspection:
    place = Place()
    with place.speaking():
        fixed = {
            "model": place.model(model),
            "plan": record_of(PlanConfig, given),
            "input_shape": shapes_of(given["input_shape"]),
        }
        found = inspect_model(record_of(InspectConfig, given, fixed), Told(None, given["on_note"]))
        require_gates(found, record_of(Gates, given))
        return place.relabelled(found)
