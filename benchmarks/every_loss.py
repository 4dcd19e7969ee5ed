"""Train with every loss on one task, at its default options, and show what the validation part says.

    python benchmarks/every_loss.py runs/every/perovskites --epochs 12
    python benchmarks/every_loss.py runs/every/gap --epochs 8 -- \
        --data.source $MATCARD_TEST_DATA/mp_small_4000.parquet --data.target gap --data.threshold 3

It shows which losses train and which collapse, not which is best: nothing is tuned, one learning rate serves all, and
the test part plays no part. Finished runs are not repeated.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import pandas as pd

from matcard.cli import make_console
from matcard.errors import TrainingError
from matcard.training.config import parse_config
from matcard.training.run import train

PLAIN = [
    "cross_entropy",
    "weighted_cross_entropy",
    "class_balanced",
    "focal",
    "balanced_softmax",
    "logit_adjustment",
    "brier",
]
CARDINALITY = {
    "error replace": "--loss.name=error --loss.combine=replace",
    "error multiply": "--loss.name=error --loss.combine=multiply",
    "error add .1": "--loss.name=error --loss.combine=add --loss.lambda_invariant=0.1",
    "error add .1, logit adjustment": "--loss.name=error --loss.combine=add --loss.lambda_invariant=0.1 "
    "--loss.base.name=logit_adjustment",
    "triplet divide": "--loss.name=triplet --loss.combine=divide",
    "triplet divide, joint head": "--loss.name=triplet --loss.combine=divide --loss.lambda_base=1",
    "triplet multiply": "--loss.name=triplet --loss.combine=multiply",
    "triplet ratio": "--loss.name=triplet --loss.combine=ratio",
    "triplet add": "--loss.name=triplet --loss.combine=add --loss.lambda_invariant=0.01",
    "per class": "--loss.name=per_class --loss.lambda_invariant=0.01 --loss.unit_norm=true",
    "reweight": "--loss.name=reweight --loss.scale=3",
    "effective number, logit adjustment": "--loss.name=effective_number --loss.base.name=logit_adjustment",
}
LOSSES = {name: f"--loss.name={name}" for name in PLAIN}
LOSSES["ldam"] = "--loss.name=ldam --loss.logit_scale=1"
LOSSES |= {
    f"{invariant}: {mode}": f"{options} --loss.invariant={invariant}"
    for mode, options in CARDINALITY.items()
    for invariant in ("magnitude", "spread")
}
# train.yaml's own options of its loss are laid aside, so that each mode stands at its defaults.
BARE = {"loss": {"name": "cross_entropy"}}


def cell(folder: Path, name: str, seed: int, epochs: int, more: list[str]) -> dict[str, object]:
    """Train one loss, or read what an earlier call has trained; gives its best epoch by validation macro-F1."""
    path = folder / f"{name.replace(' ', '-').replace(':', '').replace(',', '')}-{seed}"
    bare = folder / "bare.yaml"
    bare.write_text(json.dumps(BARE))
    if not (path / "test_metrics.json").is_file():
        argv = [f"--config={bare}", f"--seed={seed}", f"--trainer.max_epochs={epochs}", f"--run_dir={path}"]
        train(parse_config([*argv, *more, *LOSSES[name].split()], prog="", description=""))
    rows = pd.read_csv(path / "metrics.csv")
    best = rows.loc[rows["val_macro_f1"].idxmax()]
    scores = ("macro_f1", "minority_recall", "balanced_accuracy", "average_precision")
    collapsed = int((rows["val_classes_predicted"] == 1).sum())
    return {
        "loss": name,
        **{score: best[f"val_{score}"] for score in scores},
        "collapsed": collapsed,
        "epochs": len(rows),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the runs lie")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--only", nargs="+", default=list(LOSSES), choices=list(LOSSES), metavar="LOSS")
    words = sys.argv[1:]
    end = words.index("--") if "--" in words else len(words)
    given, options = parser.parse_args(words[:end]), words[end + 1 :]
    given.folder.mkdir(parents=True, exist_ok=True)
    cells = []
    for seed in given.seeds:
        for name in given.only:
            try:
                cells.append(cell(given.folder, name, seed, given.epochs, options))
            except TrainingError as error:
                make_console().print(f"{name}: {error}")
    table = pd.DataFrame(cells).groupby("loss", sort=False).mean().sort_values("macro_f1", ascending=False).round(3)
    table.to_csv(given.folder / "table.csv")
    lines = ["| loss | " + " | ".join(table.columns) + " |", "|---" * (len(table.columns) + 1) + "|"]
    lines += [f"| {name} | " + " | ".join(f"{value:g}" for value in row) + " |" for name, row in table.iterrows()]
    print("\n".join(lines))


if __name__ == "__main__":
    main()
