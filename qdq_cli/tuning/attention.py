"""Products of two activations, as in attention: float unless a share of the work in INT8 cannot be reached without.

They stay float by default because TensorRT may fuse attention into one FP16 kernel (rules, section 3.3).
"""

from __future__ import annotations

from dataclasses import replace

from qdq_cli.calibrating.calibration_data import Samples
from qdq_cli.config.placement import PlanConfig
from qdq_cli.judging.aside import split
from qdq_cli.placement.macs_limit import RANKED
from qdq_cli.process.errors import LimitError
from qdq_cli.quantizing.opened import Opened
from qdq_cli.quantizing.run import Run
from qdq_cli.screen.amounts import share_text
from qdq_cli.sensitivity.shapes import shapes_in
from qdq_cli.sensitivity.work import WorkMeter


def needs_products(run: Run, opened: Opened, samples: Samples, least: float | None) -> bool:
    """Say, before anything is observed, whether `least` percent of the MACs run in INT8 only with these products.

    One sample is run, for the shapes that inference does not know.

    Args:
        run: The run; gets the note where they are needed.
        opened: The model, planned without them.
        samples: The calibration data.
        least: Share of the multiply-accumulates, in percent; None where nothing was asked.

    Raises:
        LimitError: Not even with them.
        QdqError: The model cannot be run, or the data cannot be used.
    """
    if least is None:
        return False
    model, config = opened.prepared.model, run.config.plan
    with run.stage("weigh"):
        parts = split(samples)
        batch = next(parts.load(parts.judge), None)
        meter = WorkMeter(model, {} if batch is None else shapes_in(model, batch), run.target)
        without = meter.of(opened.plan).macs_percent
        if without >= least:
            return False
        most = most_with_products(meter, config)
    if most < least:
        raise out_of_reach(without, most, least)
    run.say(
        "Products of two activations are quantized too, as with --mha: without them "
        f"{share_text(without)} of the MACs run in {run.target.type_title}, with them {share_text(most)}, and "
        f"--min-int8-macs is {least:g} %. Attention that TensorRT fuses in FP16 may be faster."
    )
    return True


def most_with_products(meter: WorkMeter, config: PlanConfig) -> float:
    """The share of the MACs in INT8 with these products quantized, and everything else that can be; in percent."""
    return meter.planned(replace(config, mha=True)).macs_percent


def out_of_reach(without: float, most: float, least: float) -> LimitError:
    """The error that says how much can run in INT8.

    Args:
        without: Share of the MACs with everything quantized but products of two activations, in percent.
        most: The same with them; equal where there are none, or where they are among everything already.
        least: What was asked for.
    """
    asked = f"--min-int8-macs is {least:g} %"
    if most <= without:
        return LimitError(f"Even with everything quantized, {without:.2f} % of the MACs run in INT8; {asked}.", RANKED)
    hint = "Give --mha." if most >= least else RANKED
    return LimitError(
        f"Even with everything quantized, {without:.2f} % of the MACs run in INT8, and {most:.2f} % with the products "
        f"of two activations too (--mha); {asked}.",
        hint,
    )
