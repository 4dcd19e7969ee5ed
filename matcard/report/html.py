"""Pieces of HTML: paragraphs and tables of text that is escaped, numbers with as many digits as they deserve."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from markupsafe import Markup, escape

from matcard.evaluation.metrics import undefined

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import pandas as pd

DASH = "–"


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
    rare = set(marked)
    head = Markup("").join(Markup("<th scope=col{}>{}</th>").format(_kind(k, texts), h) for k, h in enumerate(header))
    body = Markup("").join(_row(row, texts, "rare" if number in rare else "") for number, row in enumerate(rows))
    foot = Markup("<tfoot>{}</tfoot>").format(_row(footer, texts, "")) if footer else ""
    return Markup(
        '<div class="frame" tabindex="0" role="region" aria-label="{}"><table><caption><span>{}</span></caption>'
        "<thead><tr>{}</tr></thead><tbody>{}</tbody>{}</table></div>"
    ).format(escape(caption).striptags(), caption, head, body, foot)


def _row(cells: Sequence[Any], texts: int, css: str) -> Markup:
    first, *rest = cells
    others = Markup("").join(Markup("<td{}>{}</td>").format(_kind(k, texts), cell) for k, cell in enumerate(rest, 1))
    opening = Markup('<tr class="{}">').format(css) if css else Markup("<tr>")
    return opening + Markup("<th scope=row>{}</th>{}</tr>").format(first, others)


def _kind(column: int, texts: int) -> Markup:
    return Markup("") if column < texts else Markup(" class=number")


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Give the rows of a table as dictionaries."""
    return cast("list[dict[str, Any]]", table.to_dict("records"))


def share(value: float | None) -> str:
    """Write a proportion as a percentage, an undefined one as a dash."""
    return DASH if undefined(value) else f"{100 * float(value or 0):.0f} %"


def score(value: float | None) -> str:
    """Write a score with three decimals, an undefined one as a dash."""
    return DASH if undefined(value) else f"{float(value or 0):.3f}"


def signed(value: float | None) -> str:
    """Write a difference of scores with its sign, an undefined one as a dash."""
    return DASH if undefined(value) else f"{float(value or 0):+.3f}".replace("-", "−")


def interval(low: float | None, high: float | None) -> str:
    """Write an interval of scores, whose bounds may be negative."""
    return DASH if undefined(low) or undefined(high) else f"{low:.2f} to {high:.2f}".replace("-", "−")


def plural(count: int, noun: str, nouns: str = "") -> str:
    """Write `1 class`, `1,200 classes`."""
    return f"{count:,} {noun if count == 1 else nouns or noun + 's'}"
