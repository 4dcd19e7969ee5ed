"""What mkdocs does beside turning Markdown into pages: formulas to MathML, tables from options and cards."""

from __future__ import annotations

import html
import re
import typing
from dataclasses import MISSING, Field, fields, is_dataclass
from importlib import import_module
from typing import Any

from latex2mathml.converter import convert

from matcard.data.cards import card_names, load_card
from matcard.losses.registry import LOSSES
from matcard.models.registry import MODELS
from matcard.training.config import field_docs
from matcard.training.options import Config

_FORMULA = re.compile(r'<(span|div) class="arithmatex">(.*?)</\1>', re.DOTALL)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put tables where a page asks for them, so that options and cards have one source."""
    tables = {"options": _options, "cards": _cards}
    markdown = re.sub(r"<!-- (options|cards) -->", lambda match: tables[match[1]](), markdown)
    return re.sub(r"<!-- api (\S+) -->", lambda match: _api(match[1]), markdown)


def on_page_content(content: str, **_: Any) -> str:
    """Write formulas as MathML: browsers draw it without a script."""
    return _FORMULA.sub(lambda match: _mathml(match[1], match[2]), content)


def _mathml(tag: str, text: str) -> str:
    source = html.unescape(text.strip())[2:-2]
    return convert(source, display="block" if tag == "div" else "inline")


def _api(package: str) -> str:
    """Ask mkdocstrings for every public name of a package, where it is defined."""
    names = import_module(package)
    where = {name: getattr(names, name).__module__ for name in names.__all__}
    return "\n\n".join(f"::: {module}.{name}" for name, module in where.items())


def _options() -> str:
    parts = [_section("Run", "", Config)]
    hints = typing.get_type_hints(Config)
    for field in fields(Config):
        if field.name not in ("loss", "model") and is_dataclass(hints[field.name]):
            parts.append(_section(field.name.capitalize(), f"{field.name}.", hints[field.name]))
    parts += [_section(f"Model: {name}", "model.", entry.options) for name, entry in MODELS.items()]
    parts += [_section(f"Loss: {name}", "loss.", entry.options) for name, entry in LOSSES.items()]
    return "\n\n".join(parts)


def _section(title: str, prefix: str, options: type) -> str:
    rows = "\n".join(_rows(prefix, options))
    return f"## {title}\n\n| option | default | |\n|---|---|---|\n{rows}"


def _rows(prefix: str, options: type) -> typing.Iterator[str]:
    texts = field_docs(options)
    hints = typing.get_type_hints(options)
    for field in fields(options):
        kind = hints[field.name]
        if is_dataclass(kind):
            if prefix:
                yield from _rows(f"{prefix}{field.name}.", typing.cast("type", kind))
        elif prefix or field.name not in ("loss", "model"):
            text = html.escape(" ".join(texts.get(field.name, "").split()), quote=False).replace("|", "\\|")
            yield f"| `--{prefix}{field.name}` | {_default(field)} | {text} |"


def _default(field: Field[Any]) -> str:
    value = field.default if field.default_factory is MISSING else field.default_factory()
    return "" if value is MISSING or value is None else f"`{value}`"


def _cards() -> str:
    rows = ["| name | what | kind | rows | rarest : commonest | licence |", "|---|---|---|---|---|---|"]
    for name in card_names():
        card = load_card(name)
        counts = "" if card.rows is None else f"{card.rows:,}"
        ratio = "" if card.imbalance_ratio is None else f"1 : {card.imbalance_ratio:.1f}"
        rows.append(f"| `{name}` | {card.title} | {card.kind} | {counts} | {ratio} | {card.licence} |")
    return "\n".join(rows)
