"""The record: options, environment, command."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from matcard.report.html import code, paragraph, table
from matcard.training.config import config_from_dict, config_to_dict, flatten, overlaid, read_default

if TYPE_CHECKING:
    from matcard.report.folder import FigureFolder
    from matcard.training.finished import FinishedRun


def options(run: FinishedRun, figures: FigureFolder) -> Markup:
    """List the options that differ from their defaults, and behind them all."""
    defaults = {name: _text(value) for name, value in _defaults(run).items()}
    given = {name: _text(value) for name, value in flatten(run.config).items()}
    changed = [
        (code(f"--{name}"), value, defaults.get(name, ""))
        for name, value in given.items()
        if defaults.get(name) != value
    ]
    listed = [(code(f"--{name}"), value) for name, value in given.items()]
    return table(
        ("option", "value", "default"), changed, caption="Options that differ from their defaults", texts=3
    ) + Markup("<details><summary>All {} options</summary>{}</details>").format(
        len(listed), table(("option", "value"), listed, caption="Options of the run", texts=2)
    )


def environment(run: FinishedRun, figures: FigureFolder) -> Markup:
    """List versions, commit and device, and the command."""
    found = dict(run.environment)
    command = found.pop("command", None)
    packages = found.pop("packages", {})
    rows = [(name.replace("_", " "), _text(value)) for name, value in found.items()]
    rows += [(name, _text(version)) for name, version in packages.items() if version]
    listed = table(("what", "value"), rows, caption="Environment", texts=2)
    if not command:
        return listed
    return listed + paragraph("Command:") + Markup("<pre><code>{}</code></pre>").format(shlex.join(command))


def _defaults(run: FinishedRun) -> dict[str, Any]:
    """Give the options of a run that names nothing but the same loss and model."""
    names = {part: {"name": run.config[part]["name"]} for part in ("loss", "model")}
    return flatten(config_to_dict(config_from_dict(overlaid(read_default(), names))))


def _text(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(_text, value)) if isinstance(value, list | tuple) else f"{value}"
