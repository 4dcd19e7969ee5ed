"""The folder of a report's figures: each as PNG, its data as CSV, and itself as a piece of the page."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup

from matcard.evaluation.style import save_figure
from matcard.files import written_whole
from matcard.report.svg import inline_svg

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    from matplotlib.figure import Figure


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
        """Write a figure as PNG and its data as CSV; gives it as HTML.

        Args:
            name: of the files; unlike that of any other figure of the page, letters, digits and hyphens.
            figure: drawn in the colours of `matcard.evaluation.style`.
            table: the data that are drawn.
            alt: what is to be seen, in words.
            caption: what the figure says.
            live: what the page's script draws in place of the still picture; its `kind` says how.
        """
        self.data(name, table)
        still = inline_svg(figure, name, alt)
        # Everything has found its place by now; to look for it again would take as long as to draw.
        figure.set_layout_engine("none")
        save_figure(figure, self.path / f"{name}.png")
        body = Markup('<div class="frame" tabindex="0">{}</div>').format(still) if live is None else _live(still, live)
        return self._framed(name, body, caption)

    def picture(self, name: str, *, alt: str, caption: str) -> Markup:
        """Give a PNG that lies in the folder as HTML, its bytes in the page; its CSV is linked where there is one."""
        data = base64.b64encode((self.path / f"{name}.png").read_bytes()).decode()
        body = Markup('<img alt="{}" src="data:image/png;base64,{}">').format(alt, data)
        return self._framed(name, body, caption)

    def _framed(self, name: str, body: Markup, caption: str) -> Markup:
        kinds = [kind for kind in ("png", "csv") if (self.path / f"{name}.{kind}").is_file()]
        files = Markup(" ").join(
            Markup('<a href="{}/{}.{}">{}</a>').format(self.path.name, name, kind, kind.upper()) for kind in kinds
        )
        return Markup(
            '<figure id="figure-{}">{}<figcaption>{} <span class="files">{}</span></figcaption></figure>'
        ).format(name, body, caption, files)


def _live(still: Markup, live: dict[str, Any]) -> Markup:
    """Put a still picture and the data of its moving one together; the page's script makes the exchange."""
    return Markup(
        '<div class="view" data-kind="{}"><div class="still frame">{}</div><div class="live" hidden></div>'
        '<script type="application/json">{}</script></div>'
    ).format(live["kind"], still, htmlsafe_json_dumps(live))
