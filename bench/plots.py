"""Draw the charts of a run as SVG files for the documentation. Knows nothing of what was measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pygal  # type: ignore[import-untyped]
from pygal.style import Style  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from bench.report import Chart

_STYLE: Final = Style(
    background="white",
    plot_background="white",
    foreground="#24292f",
    foreground_strong="#24292f",
    foreground_subtle="#57606a",
    font_family="sans-serif",
    label_font_size=13,
    major_label_font_size=13,
    legend_font_size=13,
    title_font_size=16,
    value_font_size=11,
    value_colors=("#24292f",) * 6,
    colors=("#0969da", "#d1242f", "#8250df", "#1a7f37", "#9a6700", "#57606a"),
)

_KINDS: Final = {"bar": (pygal.Bar, 1), "line": (pygal.Line, 1), "lying": (pygal.HorizontalBar, -1)}
"""Lying bars are drawn from the bottom up; they are for long labels."""


def file_name(chart: Chart) -> str:
    """Return the name of a chart's file."""
    return f"performance-{chart.name}.svg"


def draw(charts: Iterable[Chart], folder: Path) -> None:
    """Write each chart into its file, without scripts: pages show them as images."""
    for chart in charts:
        options = {
            "title": f"{chart.title} ({chart.unit})",
            "style": _STYLE,
            "js": [],
            "legend_at_bottom": True,
            "show_legend": len(chart.series) > 1,
            "print_values": True,
            "formatter": _written,
            "width": 820,
            "height": 420,
            "range": (0, 1.1 * max(max(values) for values in chart.series.values())),
            "truncate_label": -1,
        }
        kind, step = _KINDS[chart.kind]
        plot = kind(**options)
        plot.x_labels = list(chart.labels)[::step]
        for name, values in chart.series.items():
            plot.add(name, list(values)[::step])
        (folder / file_name(chart)).write_bytes(plot.render())


def _written(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.3g}"
