"""The formulas of the cardinality losses. Loads no torch."""

from __future__ import annotations

COMBINATIONS = {
    "error": {
        "replace": "M(e)",
        "multiply": "mean l * M(e)",
        "add": "lambda_base mean l + lambda_invariant M(e)",
    },
    "embedding": {
        "add": "lambda_base mean l + lambda_invariant (M(p - a) - M(n - a)), or (mean_c M(h_c) - M(h))",
        "divide": "B / M(n - a)",
        "multiply": "B * M(p - a)",
        "ratio": "M(p - a) / M(n - a)",
    },
    "class-embedding": {
        "reweight": "sum w l / sum w, w the weighting of (h / |h|, onehot(y))",
        "effective-number": "mean l with the class counts n_c replaced by |t h_c|",
    },
}
"""How the invariant of a space may be combined with a base loss, and the formula of what comes of it."""

SYMBOLS = (
    "M(A) = |t (A u {0})| - 1, or the spread in place of the magnitude; l losses of single samples; "
    "e = onehot(y) - p errors; h embeddings; a, p, n unit-norm anchors, positives and negatives mined in the "
    "batch; B = mean -log sigmoid((a.p - a.n) / temperature)"
)
"""What the letters of the formulas stand for."""
