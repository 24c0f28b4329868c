"""What would remove a stand-alone Q or DQ, reason by reason, as one table that needs no graph."""

from __future__ import annotations

from qdq_cli.targets.tensorrt.simulation import Reason

LEAVE = "`qdq quantize --exclude`"
"""The option that always removes a pair: it leaves an operator that reads it float."""

REMEDIES = {
    Reason.BOUNDARY_INPUT: "None needed: it can only go if the network takes INT8 input (P16).",
    Reason.BOUNDARY_OUTPUT: "Take the pair off the graph output, unless the network should return INT8 (P16).",
    Reason.MIXED_FANOUT: f"Quantize the other readers too, or none of them ({LEAVE}); nothing else removes it (P7).",
    Reason.SCALE_MISMATCH: "Give all Q/DQ on this tensor one scale, as `qdq quantize` gives them from the float model; "
    "nothing else removes it (P6, P11).",
    Reason.RESIDUAL_FLOAT: "Put Q/DQ on the residual branch of the Add; `qdq fix` does where it knows a range (P8).",
    Reason.RESIDUAL_NOT_REQUANTIZED: "Quantize every reader of the Add's result, or leave the residual float "
    "(`qdq quantize --no-residuals`) (P8).",
    Reason.FLOAT_PRODUCER: f"Quantize the operator that makes the tensor, or leave its reader float ({LEAVE}); "
    "nothing else removes it (P15).",
    Reason.FLOAT_CONSUMER: "Take the pair away (`qdq fix` does where float operators alone read it), or quantize all "
    "inputs of the reader; nothing else removes it (P15).",
    Reason.NONCOMMUTING: f"Put Q/DQ on the input of that operator as well, or leave its reader float ({LEAVE}); "
    "nothing else removes it (P9, P14).",
    Reason.DEPTHWISE_ACT: "Use Relu or Clip behind depthwise convolutions, whose kernels have no other epilogue, or "
    f"leave its reader float ({LEAVE}); nothing else removes it (P5).",
    Reason.DECONV: "Put the Q directly behind ConvTranspose, before the activation, or leave the reader float "
    f"({LEAVE}); nothing else removes it.",
}
"""Reason -> what would remove such a kernel; findings that know more say so instead."""
