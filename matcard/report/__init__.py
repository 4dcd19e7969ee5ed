"""`report.html`: a finished run, a study or a comparison as one self-contained page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matcard._lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "FigureFolder": "folder",
        "Page": "page",
        "write_page": "page",
        "write_report": "run_report",
        "write_study_report": "study_report",
    },
)

if TYPE_CHECKING:
    from matcard.report.folder import FigureFolder as FigureFolder
    from matcard.report.page import Page as Page
    from matcard.report.page import write_page as write_page
    from matcard.report.run_report import write_report as write_report
    from matcard.report.study_report import write_study_report as write_study_report
