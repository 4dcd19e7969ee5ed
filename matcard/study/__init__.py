"""Optuna studies: what is searched, who runs trials, what is left.

The path of one trial:

1. `settings`: what the study begins with, from the command line and the file of its space, and what lies where in its
   directory; `tuning` makes the study or opens it again, recorded in its `storage`, and runs it.
2. `trials`: the coordinator asks Optuna for the next trial. The sampler chooses a point of the `space`, which becomes a
   configuration.
3. `objective` trains it on each fold or seed, and scores the validation part; a pruner may end it.
4. `trials`, `figures`: when all have ended, the table, `best.yaml` and figures. `gains`: what the best gains on the
   defaults, and both at full length; only there is anything tested.

How trials run side by side is in `matcard.work`.
"""
