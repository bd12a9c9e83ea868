"""Figures of the report as text."""

from __future__ import annotations

import re

from matplotlib.axes import Axes

from hwsearch.report.canvas import draw, loss_axis


def test_numbers_that_are_read_keep_their_decimals() -> None:
    """Only coordinates are cut to hundredths: a tick of 0.005 dB is not 0.00."""

    def plot(axes: Axes) -> None:
        axes.plot([0, 1], [0, 0.008])
        loss_axis(axes, "y", 0.0, 0.008, 0.005)

    svg = draw("losses", "Losses", "Losses of two plans.", (320, 240), plot).svg
    shown = re.findall(r">([0-9.]+)<", svg)
    assert "0.005" in shown
    assert "0.00" not in shown
    assert not re.search(r"<[^>]*\d\.\d{3}", svg[svg.index("<desc") :])
