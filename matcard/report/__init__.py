"""`report.html`: a finished run, a study or a comparison as one self-contained page.

A chapter is a function of a run and the folder of its figures that gives HTML; it stands, with what it draws, in the
module of its subject (`recall`, `chemistry`, ...), and in `run.CHAPTERS`. Figures that other commands draw, too, are in
`matcard.evaluation.figures`. `page` puts chapters together and has their pieces.
"""
