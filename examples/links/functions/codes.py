"use node"

import segno

from runtime import internal_action


@internal_action
def draw(ctx, text: str) -> str:
    """The QR code of a text, as SVG."""
    return segno.make(text).svg_inline(scale=8)
