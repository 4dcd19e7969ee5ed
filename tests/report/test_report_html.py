from __future__ import annotations

from markupsafe import Markup

from matcard.report import page as pieces


def test_pieces_of_html_escape_and_round():
    assert (
        pieces.table(("<h>",), [("<x>", 1)], caption="<c>").count("&lt;") == 4
    )  # the caption stands in the label, too
    assert pieces.paragraph(Markup("<b>b</b>")) == "<p><b>b</b></p>"
    assert (pieces.score(None), pieces.score(0.0), pieces.share(0.125)) == ("–", "0.000", "12 %")
    assert pieces.interval(-0.06, 0.03) == "−0.06 to 0.03"
    assert pieces.interval(None, 0.03) == "–"
    assert [pieces.score(x, "+.3f") for x in (-0.0614, 0.0, float("nan"), None)] == ["−0.061", "+0.000", "–", "–"]
