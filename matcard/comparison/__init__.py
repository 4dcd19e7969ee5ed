"""Fair comparisons: data sets x losses x seeds under one protocol, with equal budgets and honest tests."""
