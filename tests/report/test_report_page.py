from __future__ import annotations

import pandas as pd

from matcard.evaluation import style
from matcard.evaluation.style import new_figure, save_figure
from matcard.report.page import FigureFolder


def test_pictures_without_data_are_linked_without(tmp_path):
    save_figure(new_figure(2, 1), tmp_path / "a.svg")
    assert "CSV" not in FigureFolder(tmp_path).picture("a", alt="<", caption=">")


def test_a_figure_takes_the_colours_of_the_page_and_is_white_and_in_its_own_as_a_file(tmp_path):
    figure = new_figure(2, 1)
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color=style.BLUE, linewidth=5)
    axes.set_axis_off()
    html = FigureFolder(tmp_path).add("line", figure, pd.DataFrame({"x": [0, 1]}), alt="<a line>", caption="rises")
    assert "var(--blue)" in html
    assert style.BLUE.lower() not in html.lower()
    assert 'aria-label="&lt;a line&gt;"' in html
    saved = (tmp_path / "line.svg").read_text(encoding="utf-8")
    assert saved.lower().count(style.BLUE.lower()) == 1
    assert saved.count('id="ground"') == html.count('id="line-ground"') == 1, "white alone, clear in the page"
    assert pd.read_csv(tmp_path / "line.csv")["x"].tolist() == [0, 1]
