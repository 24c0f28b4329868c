"""What the figures were measured on: figures of two machines say nothing beside each other without it."""

from __future__ import annotations

import platform
from importlib import metadata
from pathlib import Path

import psutil

from qdq_cli.running.blocks import block_width
from qdq_cli.running.session import cores

_UNITS = (
    "sse4_2",
    "avx",
    "avx2",
    "avx_vnni",
    "avx512f",
    "avx512_vnni",
    "avx512_bf16",
    "amx_int8",
    "asimd",
    "asimddp",
    "sve",
)
_PACKAGES = ("onnxruntime", "numpy", "numba", "llvmlite", "onnx", "onnx-ir")


def described() -> dict[str, str]:
    """Return processor, vector units, cores, memory, system and versions, each in words."""
    facts = _cpuinfo()
    flags = facts.get("flags", facts.get("Features", "")).split()
    return {
        "processor": facts.get("model name") or platform.processor() or platform.machine(),
        "vector units": ", ".join(unit for unit in _UNITS if unit in flags) or "unknown",
        "channels of a block": str(block_width() or "none"),
        "cores": str(cores()),
        "load": f"{psutil.getloadavg()[0]:.1f} at the start",
        "memory": f"{psutil.virtual_memory().total / 1e9:.0f} GB",
        "system": f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        "packages": ", ".join(f"{name} {_version(name)}" for name in _PACKAGES),
    }


def _cpuinfo() -> dict[str, str]:
    """What Linux says of the first processor; nothing elsewhere."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    pairs = [line.partition(":") for line in lines if ":" in line]
    return {name.strip(): value.strip() for name, _, value in reversed(pairs)}


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "none"
