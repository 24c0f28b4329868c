"""What has to be installed for the parts of qdq that not everybody needs, and the line that does it."""

from __future__ import annotations

EXTRAS: dict[str, tuple[str, ...]] = {
    "dask": ("distributed>=2024.1",),
    "compiler": ("tensorrt-rtx-cu12-bindings>=1.7,<2", "tensorrt-rtx-cu12-libs>=1.7,<2"),
    "openvino": ("openvino>=2025.0",),
    "parquet": ("pyarrow>=17",),
    "tiff": ("tifffile>=2024.1.30",),
}
"""Extra of pyproject.toml -> what it requires, without the platforms it is for."""


def install_line(extra: str) -> str:
    """Return the command that installs what an extra requires.

    It names the packages rather than `qdq[extra]`, because it has to work wherever qdq itself came from: an index, a
    clone, or a wheel.
    """
    return " ".join(["pip install", *(f"'{requirement}'" for requirement in EXTRAS[extra])])
