"""One look for all figures: fonts, colours that colour-blind readers tell apart, no byte that changes by chance."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray

# Okabe & Ito 2008, Color Universal Design; https://jfly.uni-koeln.de/color/
BLUE, ORANGE, GREEN, VERMILLION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PURPLE, SKY, BLACK = "#CC79A7", "#56B4E9", "#000000"
GREY, PALE = "#6b6b6b", "#d9d9d9"
FAILED = VERMILLION  # a run that collapsed or diverged; a cross marks it too, for those who see no colour
SERIES = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, BLACK)
DASHES = ("-", "--", ":", "-.")
BASELINE: dict[str, Any] = {"color": BLACK, "linewidth": 1.2, "linestyle": (0, (1, 2))}  # always the largest class
SHADES = LinearSegmentedColormap.from_list("shades", ["#ffffff", "#c6dbef", "#5ba3d0"])  # black text reads on all of it

STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text: searchable, sharp, readable by screen readers
    "svg.hashsalt": "recipe-study",  # ids that depend on the content alone
    "text.parse_math": False,  # a class may be called "$x$"
    "font.family": ["DejaVu Sans", "Verdana", "Arial", "sans-serif"],
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.axisbelow": True,
    "xtick.color": "#333333",
    "ytick.color": "#333333",
    "grid.color": "#e6e6e6",
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.linewidth": 1.8,
    "figure.facecolor": "white",  # the report may be dark
    "savefig.facecolor": "white",
}


@contextmanager
def drawing(path: str | Path, width: float, height: float) -> Iterator[Figure]:
    """A figure of `width` × `height` inches, written to `path` as SVG when the block ends without an error.

    Fonts that lack a character are no reason to warn: the SVG holds the text, and the reader's fonts show it.
    """
    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)
    with mpl.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*[Gg]lyph.*missing from")
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasSVG(figure)
        yield figure
        figure.draw_without_rendering()  # layout once more with the ticks that fit the first one
        figure.savefig(path, format="svg", metadata={"Date": None}, bbox_inches="tight", pad_inches=0.08)


JOINERS = "\N{ZERO WIDTH JOINER}\N{ZERO WIDTH NON-JOINER}"  # part of emoji, and of words in several scripts


def name(text: str, longest: int = 20) -> str:
    """A name from the data on one line, printable, cut in its middle if it is longer than `longest` characters."""
    line = " ".join(str(text).split())
    clean = "".join(c if c.isprintable() or c in JOINERS else "\N{REPLACEMENT CHARACTER}" for c in line)
    if len(clean) <= longest:
        return clean
    head = (longest - 1) * 2 // 3
    return f"{clean[:head]}…{clean[len(clean) - (longest - 1 - head) :]}"


def picture(axes: Axes, pixels: NDArray[np.uint8]) -> None:
    """A packed image, (C, S, S), with square pixels."""
    image = np.moveaxis(pixels, 0, -1)
    axes.imshow(np.broadcast_to(image, (*image.shape[:2], 3)), interpolation="none")


def headed(figure: Figure, text: str) -> None:
    """A bold title at the left edge of the figure."""
    figure.suptitle(text, x=0.01, ha="left", fontsize=12, fontweight="bold")


def percent(share: float, _: float) -> str:
    """A tick's label, with as many decimals as it has: "70%", "69.5%"."""
    return f"{100 * share:.4g}%"


def series(position: int) -> dict[str, Any]:
    """Colour and dashes of the n-th line of a figure; neighbours differ in both."""
    return {"color": SERIES[position % len(SERIES)], "linestyle": DASHES[position % len(DASHES)]}


def grid(axes: Axes, axis: str = "both") -> None:
    """A quiet grid behind the data."""
    axes.grid(True, axis=axis, linewidth=0.8)  # type: ignore[arg-type]
