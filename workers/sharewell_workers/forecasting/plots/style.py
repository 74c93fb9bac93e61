"""One look for all pictures, legible in grey and to the colour-blind, and files that hold neither date nor chance.

Colours: Okabe & Ito, "Color Universal Design" (2008); bands differ in lightness, methods in dash and marker as well.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from io import BytesIO
from textwrap import fill
from typing import TYPE_CHECKING, Any, Concatenate, Final, Literal, ParamSpec

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Format = Literal["svg", "png"]
P = ParamSpec("P")

INK, QUIET, FAINT = "#1a1a1a", "#5f6670", "#dfe3e8"
BANDS: Final = {950: "#d4e4f4", 800: "#9fc5e8", 500: "#5b9bd0"}  #: per mille of outcomes -> colour, wide to narrow
MEDIAN: Final = "#0b2e59"
METHODS: Final[dict[str, dict[str, Any]]] = {
    "model": {"color": "#0072b2", "marker": "o", "linestyle": "-", "linewidth": 2.2},
    "seasonal-naive": {"color": "#d55e00", "marker": "s", "linestyle": "--", "linewidth": 1.5},
    "persistence": {"color": "#5f6670", "marker": "^", "linestyle": ":", "linewidth": 1.8},
}

FONT = "DejaVu Sans"  #: comes with matplotlib; where a viewer lacks it, Verdana is as wide
SETTINGS: Final[dict[Any, Any]] = {
    "svg.fonttype": "none",  # text stays text: it can be found, copied and read aloud
    "svg.hashsalt": "sharewell",
    "text.parse_math": False,  # a dollar in a name is a dollar
    "font.family": [FONT],
    "font.size": 9.5,
    "text.color": INK, "axes.labelcolor": INK, "xtick.color": QUIET, "ytick.color": QUIET,
    "axes.edgecolor": QUIET, "axes.linewidth": 0.8, "axes.spines.top": False, "axes.spines.right": False,
    "axes.titlelocation": "left", "axes.titlesize": 10.5, "axes.titleweight": "bold", "axes.titlepad": 8,
    "axes.grid": True, "axes.axisbelow": True, "grid.color": FAINT, "grid.linewidth": 0.7,
    "xtick.major.size": 3, "ytick.major.size": 3, "legend.frameon": False, "legend.fontsize": 9,
    "figure.facecolor": "white", "figure.dpi": 100, "savefig.dpi": 150,
}  # fmt: skip


def picture(
    draw: Callable[Concatenate[Figure, P], str],
) -> Callable[Concatenate[Format, P], bytes]:
    """Make `draw(figure, ...)`, which returns the picture's title, into a function of a format that returns its bytes.

    Settings of the machine's user do not reach the picture.
    """

    @wraps(draw)
    def drawn(form: Format, /, *args: P.args, **kwargs: P.kwargs) -> bytes:
        import matplotlib as mpl  # noqa: PLC0415  over a second to load: only those who draw pay for it
        from matplotlib.figure import Figure as Canvas  # noqa: PLC0415

        with mpl.rc_context():
            mpl.rcdefaults()
            mpl.rcParams.update(SETTINGS)
            figure = Canvas(layout="constrained")
            title = draw(figure, *args, **kwargs)
            file = BytesIO()
            said = {"Title": title, "Creator": "sharewell", "Date": None} if form == "svg" else {"Title": title}
            figure.savefig(file, format=form, metadata=said)
        return file.getvalue().replace(f"'{FONT}'".encode(), f"'{FONT}', Verdana, sans-serif".encode())

    return drawn


def headed(figure: Figure, title: str, sentence: str) -> None:
    """Put a title over the picture, and under it how to read it, in lines as long as it is wide."""
    lines = fill(sentence, int(13.5 * figure.get_figwidth()))
    figure.suptitle(title, x=0.012, ha="left", fontsize=13, fontweight="bold")
    figure.supxlabel(lines, x=0.012, ha="left", fontsize=9, color=QUIET)


def whole_steps(axes: Axes, last: int) -> None:
    """Ticks at whole steps only, at most about eight."""
    from matplotlib.ticker import MaxNLocator  # noqa: PLC0415

    axes.xaxis.set_major_locator(MaxNLocator(nbins=min(8, max(last, 1)), integer=True, min_n_ticks=1))
