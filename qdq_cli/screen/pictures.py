"""Small pictures on a page, each inside of the file itself."""

from __future__ import annotations

import base64
from dataclasses import dataclass

from qdq_cli.screen.page_text import breakable, escaped

POLICY = "img-src data:"
"""What a page has to allow for them: pictures that it holds itself, and no others."""

STYLE = """
.sheet { display: grid; grid-template-columns: repeat(auto-fill, minmax(9rem, 1fr)); gap: .8rem; margin: .6rem 0; }
.sheet figure { margin: 0; } .sheet figcaption { font-size: .85rem; }
.sheet img { display: block; width: 100%; height: auto; aspect-ratio: 1; object-fit: contain; background: var(--panel);
  border: 1px solid var(--rule); border-radius: .3rem; } .sheet img.small { image-rendering: pixelated; }
"""

_SMALL_PIXELS = 64


@dataclass(frozen=True)
class Picture:
    """A picture with what stands below it.

    Args:
        content: The bytes of a PNG or JPEG file.
        size: Width and height, in pixels.
        caption: What it is.
        details: More about it.
    """

    content: bytes
    size: tuple[int, int]
    caption: str
    details: str = ""


@dataclass(frozen=True)
class Pictures:
    """Pictures side by side."""

    pictures: tuple[Picture, ...]


def pictures_html(block: Pictures) -> str:
    """Pictures as HTML."""
    return f'<div class="sheet">{"".join(map(_figure, block.pictures))}</div>'


def _figure(picture: Picture) -> str:
    kind = "png" if picture.content.startswith(b"\x89PNG") else "jpeg"
    width, height = picture.size
    small = ' class="small"' if max(picture.size) <= _SMALL_PIXELS else ""
    text = base64.b64encode(picture.content).decode()
    return (
        f'<figure><img{small} src="data:image/{kind};base64,{text}" width="{width}" height="{height}" '
        f'alt="{escaped(picture.caption)}"><figcaption>{breakable(picture.caption)}<br>{escaped(picture.details)}'
        "</figcaption></figure>"
    )
