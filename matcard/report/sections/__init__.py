"""The sections of a run's report: each a function from a finished run and a folder of figures to HTML."""
