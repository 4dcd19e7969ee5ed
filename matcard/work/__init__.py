"""Work that runs side by side: one coordinator decides and writes, workers of a pool do it.

The path of one task:

1. The coordinator (`conduct`) asks its agenda, a study or a comparison, what may begin, and looks at its attempts.
2. It gives an attempt to a free worker of the pool: `pool` runs it in this process, `cluster` in others by Dask.
3. The attempt (`attempt`) works in a folder of its own and ends with a record that is written whole.
4. The agenda records the outcome. Where the worker died, the task is simply not ended, and is looked at again.

`trainings` reads once what trainings have in common, `folder` keeps a second coordinator and other data out, `screen`
shows how far all is.
"""
