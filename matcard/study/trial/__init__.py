"""What one trial does: choose, train on each fold or seed, score the validation part."""
