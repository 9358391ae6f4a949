"""Curves, drawn with matplotlib. It is an extra, and is imported only here and only to draw."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

from espsim.core.errors import InputError

_COLOURS = {"duplicate": "#2f6f9f", "alias": "#d9480f", "overflow": "#5c940d", "refused": "#868e96", "any": "#1c2024"}


def image_format(path: str) -> str:
    """png or svg, by the file's name. InputError: it is neither."""
    ending = path.rpartition(".")[2].lower()
    if ending not in ("png", "svg"):
        raise InputError("a plot is .png or .svg", where=path)
    return ending


def draw_odds(title: str, sizes: Sequence[int], curves: Sequence[Mapping[str, Any]], fmt: str) -> bytes:
    """Chance by number of SAs, one line for each event; the 95 % interval is shaded where the chance is sampled.

    `curves[i]` has `chance`, `low`, `high` of each event at `sizes[i]`. InputError: matplotlib is not installed.
    """
    figure = new_figure(width=8, height=4.5)
    axes = figure.subplots()
    for event, colour in _COLOURS.items():
        values = [[row[event][key] for row in curves] for key in ("chance", "low", "high")]
        if not any(values[0]):
            continue
        axes.plot(sizes, values[0], label=event, color=colour, linestyle="--" if event == "any" else "-")
        axes.fill_between(sizes, values[1], values[2], color=colour, alpha=0.2, linewidth=0)
    axes.set(xscale="log", ylim=(-0.02, 1.02), xlabel="SAs", ylabel="chance of at least one", title=title)
    axes.grid(alpha=0.3)
    if axes.lines:
        axes.legend(frameon=False)
    return image_of(figure, fmt)


def need_matplotlib() -> None:
    """InputError: matplotlib is not installed. A command calls this before it starts to work."""
    try:
        import matplotlib.figure  # noqa: F401, PLC0415 - an extra
    except ImportError:
        raise InputError("drawing needs matplotlib: pip install 'espsim[plot]'", where="--plot") from None


def new_figure(*, width: float, height: float) -> Any:
    """An empty figure, sizes in inches. InputError: matplotlib is not installed."""
    need_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 - an extra
    from matplotlib.figure import Figure  # noqa: PLC0415

    figure = Figure(figsize=(width, height), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def image_of(figure: Any, fmt: str) -> bytes:
    """A figure as the bytes of a file."""
    image = io.BytesIO()
    # Without a date and with fixed names: the same command draws the same bytes.
    figure.savefig(image, format=fmt, metadata={"Date": None} if fmt == "svg" else {"Software": None})
    return image.getvalue()
