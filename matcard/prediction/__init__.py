"""Trained runs, loaded: probabilities, classes and embeddings of new samples, and how far they are to be trusted."""
