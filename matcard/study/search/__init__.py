"""What is searched, and how the next trial is chosen: spaces, samplers, pruners."""
