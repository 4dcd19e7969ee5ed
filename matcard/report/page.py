"""The page: chapters one below the other, in one file that needs no other; their figures, and pieces of HTML."""

from __future__ import annotations

import re
import warnings
from importlib.resources import files
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from matcard.errors import InputError, MatcardWarning
from matcard.evaluation import style
from matcard.evaluation.metrics import undefined
from matcard.evaluation.style import save_figure
from matcard.files import written_whole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from importlib.resources.abc import Traversable
    from pathlib import Path

    import pandas as pd
    from matplotlib.figure import Figure
    from rich.console import Console

VARIABLES = {
    style.INK: "ink",
    "#000000": "ink",
    style.GREY: "grey",
    style.PALE: "pale",
    style.BLUE: "blue",
    style.VERMILLION: "vermillion",
    style.GREEN: "green",
    style.PURPLE: "purple",
    style.ORANGE: "orange",
    style.SKY: "sky",
}
"""The colours of `matcard.evaluation.style`, and the CSS variables of the page that stand for them."""
_TEMPLATES = Environment(
    loader=PackageLoader("matcard.report"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_PIECES: Any = _TEMPLATES.get_template("pieces.html").module
_PIXELS_A_POINT = 96 / 72
DASH = "–"


class Section(NamedTuple):
    """A part of the page under a heading; `write` gives its HTML, or raises what keeps it from doing so."""

    anchor: str
    title: str
    write: Callable[[], Markup]


def write_page(path: Path, title: str, subtitle: str, sections: Sequence[Section]) -> Path:
    """Write a page whole; a section that cannot be written says why, and a `MatcardWarning` is given.

    Args:
        path: of the page, which is given back.
        title: heading of the page.
        subtitle: a line below it.
        sections: in the order of the page.
    """
    written = [(section, _body(section, path)) for section in sections]
    lively = any('class="view"' in body for _, body in written)
    own, plotly = files("matcard.report").joinpath("templates"), files("plotly").joinpath("package_data")
    text = _TEMPLATES.get_template("page.html").render(
        title=title,
        subtitle=subtitle,
        sections=written,
        style=_raw(own, "style.css"),
        script=_raw(own, "report.js") if lively else None,
        plotly=_raw(plotly, "plotly.min.js") if lively else None,
    )
    with written_whole(path) as beside:
        beside.write_text(text, encoding="utf-8")
    return path


def show_page(folder: Path, write: Callable[[], Path], console: Console) -> None:
    """Write the page of what is finished and say where; whatever goes wrong there, the folder's other files are whole.

    Args:
        folder: of the run or study.
        write: writes the page and gives its path.
        console: what is printed to.
    """
    try:
        path = write()
    except Exception as error:
        warnings.warn(
            f"{folder}: no report was written ({error}); write it by python -m matcard.report {folder}",
            MatcardWarning,
            stacklevel=2,
        )
    else:
        console.print(f"report: {path}", soft_wrap=True, markup=False)


def _body(section: Section, path: Path) -> Markup:
    # Whatever goes wrong here, the run is done and its files are whole: the page goes without the section.
    try:
        return section.write()
    except Exception as error:
        reason = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
        warnings.warn(f"{path}: the section {section.title!r} is missing: {reason}", MatcardWarning, stacklevel=3)
        return paragraph(f"This section is missing: {reason}", "missing")


def _raw(folder: Traversable, name: str) -> Markup:
    """Give a file as it is, not to be escaped."""
    return Markup(folder.joinpath(name).read_text(encoding="utf-8"))


class FigureFolder:
    """Keeps the figures of one page.

    Args:
        path: the folder; it is made where it is missing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.path.mkdir(parents=True, exist_ok=True)

    def data(self, name: str, table: pd.DataFrame) -> str:
        """Write a table as CSV; gives the file's name, seen from the page."""
        with written_whole(self.path / f"{name}.csv") as beside:
            table.to_csv(beside, index=False)
        return f"{self.path.name}/{name}.csv"

    def add(
        self,
        name: str,
        figure: Figure,
        table: pd.DataFrame,
        *,
        alt: str,
        caption: str,
        live: dict[str, Any] | None = None,
    ) -> Markup:
        """Write a figure as SVG and its data as CSV; gives it as HTML.

        Args:
            name: of the files; unlike that of any other figure of the page, letters, digits and hyphens.
            figure: drawn in the colours of `matcard.evaluation.style`.
            table: the data that are drawn.
            alt: what is to be seen, in words.
            caption: what the figure says.
            live: the structure that the page's script draws in place of the still picture.
        """
        self.data(name, table)
        save_figure(figure, self.path / f"{name}.svg")
        return self.picture(name, alt=alt, caption=caption, live=live)

    def picture(self, name: str, *, alt: str, caption: str, live: dict[str, Any] | None = None) -> Markup:
        """Give a figure that lies in the folder as HTML; its CSV is linked where there is one."""
        still = inline_svg((self.path / f"{name}.svg").read_text(encoding="utf-8"), name, alt)
        kinds = [kind for kind in ("svg", "csv") if (self.path / f"{name}.{kind}").is_file()]
        return Markup(_PIECES.figure(self.path.name, name, still, caption, kinds, live))


def inline_svg(drawing: str, name: str, alt: str) -> Markup:
    """Give a saved figure as an SVG element that takes its colours from the page's CSS variables.

    Args:
        drawing: what `save_figure` wrote of a figure in the colours of `matcard.evaluation.style`.
        name: unlike that of any other figure of the page; the ids inside the SVG begin with it.
        alt: what is to be seen, in words.
    """
    for colour, variable in VARIABLES.items():
        drawing = re.sub(rf"{colour}\b", f"var(--{variable})", drawing, flags=re.IGNORECASE)
    # Ids are unique in a page, not in a figure alone.
    drawing = re.sub(r'(id="|href="#|url\(#)', rf"\g<1>{name}-", drawing)
    opening, body = drawing[drawing.index("<svg") :].split(">", 1)
    _, _, width, height = re.findall(r"[\d.]+", opening[opening.index("viewBox") :])[:4]
    return Markup('<svg role="img" aria-label="{}" style="--natural: {:.0f}px" viewBox="0 0 {} {}">').format(
        alt, float(width) * _PIXELS_A_POINT, width, height
    ) + Markup(body)


def paragraph(text: str, css: str = "") -> Markup:
    """Give a paragraph; text that is not `Markup` is escaped."""
    return Markup('<p class="{}">{}</p>').format(css, text) if css else Markup("<p>{}</p>").format(text)


def code(text: str) -> Markup:
    """Give a name of a file, an option or a command."""
    return Markup("<code>{}</code>").format(text)


def table(
    header: Sequence[str],
    rows: Iterable[Sequence[Any]],
    *,
    caption: str,
    texts: int = 1,
    marked: Iterable[int] = (),
    footer: Sequence[Any] = (),
) -> Markup:
    """Give a table in a frame of its own, which scrolls where the screen is narrow.

    Args:
        header: names of the columns.
        rows: cells; the first of each names its row.
        caption: what the table shows.
        texts: so many columns from the left hold text, the others numbers.
        marked: rows of minority classes.
        footer: cells of a last row.
    """
    return Markup(_PIECES.table(header, rows, caption, texts, set(marked), footer))


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Give the rows of a table as dictionaries."""
    return cast("list[dict[str, Any]]", table.to_dict("records"))


def share(value: float | None) -> str:
    """Write a proportion as a percentage, an undefined one as a dash."""
    return DASH if undefined(value) else f"{100 * float(value or 0):.0f} %"


def score(value: float | None, form: str = ".3f") -> str:
    """Write a score with three decimals (a difference by `+.3f` with its sign), an undefined one as a dash."""
    return DASH if undefined(value) else f"{float(value or 0):{form}}".replace("-", "−")


def interval(low: float | None, high: float | None, form: str = ".2f") -> str:
    """Write an interval of scores, whose bounds may be negative."""
    return DASH if undefined(low) or undefined(high) else f"{low:{form}} to {high:{form}}".replace("-", "−")


def plural(count: int, noun: str) -> str:
    """Write `1 trial`, `1,200 trials`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
