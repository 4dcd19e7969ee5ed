"""`report.html`: a finished run, a study or a comparison as one self-contained page; a chapter a module."""
