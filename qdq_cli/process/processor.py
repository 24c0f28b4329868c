"""The processor this runs on: its name, and the vector units that decide how fast integers are there."""

from __future__ import annotations

import functools
import platform
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")

_UNITS: tuple[tuple[str, frozenset[str]], ...] = (
    ("AVX2", frozenset({"avx2"})),
    ("AVX-512", frozenset({"avx512f"})),
    ("VNNI", frozenset({"avx512_vnni", "avx_vnni"})),
    ("AMX", frozenset({"amx_int8"})),
    ("NEON", frozenset({"asimd", "neon"})),
    ("dot product", frozenset({"asimddp"})),
    ("I8MM", frozenset({"i8mm"})),
    ("SVE", frozenset({"sve"})),
)
"""Unit, as people call it -> the flags of Linux that say it is there, each by itself.

Source: Linux, arch/x86/include/asm/cpufeatures.h and Documentation/arch/arm64/elf_hwcaps.rst.
"""

_SURE = {"arm64": ("NEON",), "aarch64": ("NEON",)}
"""Architecture -> what every processor of it has, where the system does not tell more."""

_IMPLIED = {"AVX2": "AVX-512"}
"""Unit -> one that has it too, so that texts do without naming it."""


@dataclass(frozen=True)
class Processor:
    """A processor.

    Args:
        name: As it calls itself, such as `AMD EPYC 7763 64-Core Processor`; its architecture where it has no name.
        vector_units: What decides the speed of integers: of `AVX2`, `AVX-512`, `VNNI` and `AMX`, or of `NEON`,
            `dot product`, `I8MM` and `SVE`; empty where the system does not tell.
    """

    name: str
    vector_units: tuple[str, ...]

    @property
    def units_text(self) -> str:
        """The units in words, without those that another one implies; the architecture where there are none."""
        shown = [unit for unit in self.vector_units if _IMPLIED.get(unit) not in self.vector_units]
        return ", ".join(shown) or platform.machine() or "unknown"


@functools.cache
def this_processor() -> Processor:
    """The processor of this machine, as its system describes it."""
    try:
        return described(_CPUINFO.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return described("")


def described(cpuinfo: str) -> Processor:
    """Read what Linux says of its processors, the first of them.

    Args:
        cpuinfo: The text of /proc/cpuinfo; "" on other systems.
    """
    found: dict[str, str] = {}
    for line in cpuinfo.splitlines():
        key, _, value = line.partition(":")
        found.setdefault(key.strip().lower(), value.strip())
    flags = frozenset((found.get("flags") or found.get("features") or "").split())
    name = found.get("model name") or platform.processor() or platform.machine()
    return Processor(name, _units(flags) or _SURE.get(platform.machine().lower(), ()))


def _units(flags: AbstractSet[str]) -> tuple[str, ...]:
    return tuple(unit for unit, telling in _UNITS if flags & telling)
