"""What a study leaves: the table of trials, the best configurations, figures, and the gain on the defaults."""
