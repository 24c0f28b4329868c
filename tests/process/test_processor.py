"""Processors as Linux describes them, and what is known where nobody describes one."""

from __future__ import annotations

import pytest

from qdq_cli.process.processor import described, this_processor

INTEL = """processor\t: 0
model name\t: A Xeon with matrices
flags\t\t: fpu sse4_2 avx avx2 avx512f avx512_vnni amx_int8
processor\t: 1
model name\t: Another
flags\t\t: fpu
"""
OLD = "model name : A Core\nflags : fpu sse4_2 avx avx2 fma\n"
CLIENT = "model name : A Core with VNNI and no AVX-512\nflags : avx2 avx_vnni\n"
ARM = "processor : 0\nBogoMIPS : 50\nFeatures : fp asimd asimddp i8mm sve\n"


@pytest.mark.parametrize(
    ("text", "units", "said"),
    [
        (INTEL, ("AVX2", "AVX-512", "VNNI", "AMX"), "AVX-512, VNNI, AMX"),
        (OLD, ("AVX2",), "AVX2"),
        (CLIENT, ("AVX2", "VNNI"), "AVX2, VNNI"),
        (ARM, ("NEON", "dot product", "I8MM", "SVE"), "NEON, dot product, I8MM, SVE"),
    ],
    ids=["server", "AVX2 alone", "client", "arm"],
)
def test_units_by_the_first_processor(text: str, units: tuple[str, ...], said: str):
    found = described(text)
    assert (found.vector_units, found.units_text) == (units, said)


def test_it_is_called_as_it_calls_itself():
    assert described(INTEL).name == "A Xeon with matrices"


@pytest.mark.parametrize(
    ("machine", "units", "said"), [("arm64", ("NEON",), "NEON"), ("AMD64", (), "AMD64"), ("", (), "unknown")]
)
def test_where_the_system_tells_nothing(machine: str, units: tuple[str, ...], said: str, monkeypatch):
    monkeypatch.setattr("platform.machine", lambda: machine)
    found = described("")
    assert (found.vector_units, found.units_text) == (units, said)


def test_this_machine_has_one():
    assert this_processor().units_text
