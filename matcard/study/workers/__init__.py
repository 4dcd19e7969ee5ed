"""Who runs trials: the queue, one worker, several, and what happens when one dies or is stopped."""
