"""Small bar charts as SVG, made by the server: no script, readable in light and dark. Pure.

Colours are classes of the page's stylesheet. Each bar has a title, and the chart a label for screen
readers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from markupsafe import Markup, escape

if TYPE_CHECKING:
    from collections.abc import Sequence

WIDTH, HEIGHT = 300, 48
MAX_BARS = 30
_GAP = 2
# A value above zero is always visible.
_LEAST = 2


class Part(NamedTuple):
    """A piece of a bar.

    Attributes:
        style: the class of its colour: ok, partial, failed, idle.
        value: how much it stands for.
    """

    style: str
    value: int


class Bar(NamedTuple):
    """A bar, from the bottom up.

    Attributes:
        title: what it stands for, with its numbers.
        parts: its pieces.
    """

    title: str
    parts: Sequence[Part]

    @property
    def total(self) -> int:
        """The height."""
        return sum(part.value for part in self.parts)


def bar_chart(bars: Sequence[Bar], label: str) -> Markup:
    """The last bars, oldest first, at the right end of the chart.

    Args:
        bars: oldest first.
        label: what the chart shows, for screen readers.
    """
    shown = bars[-MAX_BARS:]
    highest = max((bar.total for bar in shown), default=0) or 1
    step = WIDTH / MAX_BARS
    left = WIDTH - step * len(shown)
    pieces = "".join(_bar(bar, left + place * step, highest) for place, bar in enumerate(shown))
    return Markup(
        '<svg class="bars" role="img" aria-label="{}" viewBox="0 0 {} {}"'
        ' preserveAspectRatio="none">{}</svg>'
    ).format(label, WIDTH, HEIGHT, Markup(pieces))  # noqa: S704  all texts in it are escaped


# Texts and not Markup, whose format takes ten times as long for each of hundreds of pieces.
def _bar(bar: Bar, left: float, highest: int) -> str:
    width = WIDTH / MAX_BARS - _GAP
    pieces, bottom = [], float(HEIGHT)
    for part in bar.parts:
        if part.value <= 0:
            continue
        height = max(_LEAST, part.value / highest * HEIGHT)
        # Pieces that were made visible may add up to more than the chart.
        bottom = max(0.0, bottom - height)
        pieces.append(_piece(part.style, left, bottom, width, height))
    if not pieces:
        pieces.append(_piece("idle", left, HEIGHT - 1, width, 1))
    return f"<g><title>{escape(bar.title)}</title>{''.join(pieces)}</g>"


def _piece(style: str, left: float, top: float, width: float, height: float) -> str:
    return (
        f'<rect class="{escape(style)}" x="{left:.1f}" y="{top:.1f}" width="{width:.1f}"'
        f' height="{height:.1f}"/>'
    )
