"""What mkdocs does beside turning Markdown into pages: tables, API, notebooks; formulas as MathML."""

from __future__ import annotations

import html
import re
import typing
from dataclasses import MISSING, Field, fields, is_dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latex2mathml.converter import convert
from mkdocs.structure.files import File
from nbconvert import MarkdownExporter

from matcard.data.card import card_names, load_card
from matcard.losses import Loss
from matcard.models import Classifier
from matcard.options import NamedOptions
from matcard.training.config import field_docs
from matcard.training.options import Config

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

_FORMULA = re.compile(r'<(span|div) class="arithmatex">(.*?)</\1>', re.DOTALL)


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the executed notebooks as pages, their figures beside them."""
    exporter = MarkdownExporter(preprocessors=["nbconvert.preprocessors.CoalesceStreamsPreprocessor"])
    for path in sorted(Path(config.config_file_path).with_name("notebooks").glob("*.ipynb")):
        text, resources = exporter.from_filename(str(path), {"output_files_dir": f"{path.stem}_files"})
        text = text.replace('<table border="1" class="dataframe">', "<table>")  # drawn as the site's own
        files.append(File.generated(config, f"notebooks/{path.stem}.md", content=text))
        for name, data in resources["outputs"].items():
            files.append(File.generated(config, f"notebooks/{name}", content=data))
    return files


def on_page_markdown(markdown: str, *, config: MkDocsConfig, **_: Any) -> str:
    """Put texts and tables where a page asks for them, so that each has one source."""
    root = Path(config.config_file_path).parent
    markdown = re.sub(r'--8<-- "(.*)"', lambda match: (root / match[1]).read_text(encoding="utf-8"), markdown)
    tables = {"options": _options, "cards": _cards}
    markdown = re.sub(r"<!-- (options|cards) -->", lambda match: tables[match[1]](), markdown)
    markdown = re.sub(r"<!-- api (\S+) -->", lambda match: _api(match[1]), markdown)
    return _as_page(markdown)


def on_page_content(content: str, **_: Any) -> str:
    """Write formulas as MathML: browsers draw it without a script."""
    return _FORMULA.sub(lambda match: _mathml(match[1], match[2]), content)


def _as_page(markdown: str) -> str:
    """Turn links that hold in the repository into those of the site, which has notebooks and docs in one folder."""
    markdown = re.sub(r"\]\(\.\./(notebooks/\w+)\.ipynb\)", r"](\1.md)", markdown).replace("](../docs/", "](")
    markdown = re.sub(r"\]\((\.\./)?\.\./benchmarks/speed\.md", r"](\1speed.md", markdown)
    return re.sub(r"\]\(\.\./((\.\./)?benchmarks)/README\.md", r"](\1.md", markdown)


def _mathml(tag: str, text: str) -> str:
    source = html.unescape(text.strip())[2:-2]
    if tag == "div":
        return f'<div class="formula">{convert(source, display="block")}</div>'
    return convert(source)


def _api(package: str) -> str:
    """Ask mkdocstrings for every public name of a package, where it is defined, or every one defined in a module."""
    names = import_module(package)
    if hasattr(names, "__all__"):
        where = {name: getattr(getattr(names, name), "__module__", package) for name in names.__all__}
    else:
        defined = (name for name, value in vars(names).items() if getattr(value, "__module__", None) == package)
        where = {name: package for name in defined if not name.startswith("_")}
    return "\n\n".join(f"::: {module}.{name}" for name, module in where.items())


def _options() -> str:
    parts = [_section("Run", "", Config)]
    hints = typing.get_type_hints(Config)
    for field in fields(Config):
        if field.name not in ("loss", "model") and is_dataclass(hints[field.name]):
            parts.append(_section(field.name.capitalize(), f"{field.name}.", hints[field.name]))
    for title, part, family in (("Model", "model.", Classifier), ("Loss", "loss.", Loss)):
        parts += [_section(f"{title}: {name}", part, family.find(name).options_class) for name in family.names()]
    return "\n\n".join(parts)


def _section(title: str, prefix: str, options: type) -> str:
    rows = "\n".join(_rows(prefix, options))
    return f"## {title}\n\n| option | default | |\n|---|---|---|\n{rows}"


def _rows(prefix: str, options: type) -> typing.Iterator[str]:
    texts = field_docs(options)
    hints = typing.get_type_hints(options)
    for field in fields(options):
        kind = hints[field.name]
        named = isinstance(kind, type) and issubclass(kind, NamedOptions)
        if is_dataclass(kind) and not named:
            if prefix:
                yield from _rows(f"{prefix}{field.name}.", typing.cast("type", kind))
        elif prefix or field.name not in ("loss", "model"):
            text = html.escape(" ".join(texts.get(field.name, "").split()), quote=False).replace("|", "\\|")
            yield f"| `--{prefix}{field.name}{'.name' * named}` | {_default(field)} | {text} |"


def _default(field: Field[Any]) -> str:
    value = field.default if field.default_factory is MISSING else field.default_factory()
    value = getattr(value, "name", value)
    return "" if value is MISSING or value is None else f"`{value}`"


def _cards() -> str:
    rows = ["| name | what | kind | rows | rarest : commonest | licence |", "|---|---|---|---|---|---|"]
    for name in card_names():
        card = load_card(name)
        counts = "" if card.rows is None else f"{card.rows:,}"
        of_classes = None if card.class_counts is None else card.class_counts.values()
        ratio = "" if of_classes is None else f"1 : {max(of_classes) / min(of_classes):.1f}"
        rows.append(f"| `{name}` | {card.title} | {card.kind} | {counts} | {ratio} | {card.licence} |")
    return "\n".join(rows)
