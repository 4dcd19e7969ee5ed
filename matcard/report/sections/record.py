"""The record: options, environment, command."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from matcard.files import read_yaml
from matcard.report.html import code, paragraph, table
from matcard.training.config import DEFAULT_CONFIG, config_from_dict, config_to_dict, find_config, flatten, overlaid

if TYPE_CHECKING:
    from matcard.report.finished import FinishedRun
    from matcard.report.folder import FigureFolder


def options(run: FinishedRun, figures: FigureFolder) -> Markup:
    """List every option; those that differ from the defaults are marked."""
    defaults = _defaults(run)
    given = flatten(run.config)
    rows, marked = [], []
    for k, (name, value) in enumerate(given.items()):
        differs = name not in defaults or _text(defaults[name]) != _text(value)
        if differs:
            marked.append(k)
        rows.append((code(f"--{name}"), _text(value), _text(defaults[name]) if differs and name in defaults else ""))
    return table(
        ("option", "value", "default, where it differs"), rows, caption="Options of the run", texts=3, marked=marked
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
    return flatten(config_to_dict(config_from_dict(overlaid(read_yaml(find_config(DEFAULT_CONFIG)), names))))


def _text(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(_text, value)) if isinstance(value, list | tuple) else f"{value}"
