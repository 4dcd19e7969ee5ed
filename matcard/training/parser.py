"""The command line of a configuration: a parser whose options are its fields, and messages for who types them."""

from __future__ import annotations

import argparse
import csv
import dataclasses
import json
import re
import typing
from typing import TYPE_CHECKING, Any

import yaml
from docstring_parser import parse_from_object

from matcard.errors import InputError, nearest_names
from matcard.training.options import Config

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from jsonargparse import ArgumentParser

DEFAULT_CONFIG = "train.yaml"


def build_parser(kinds: Mapping[str, type], *, prog: str, description: str, own: type | None = None) -> ArgumentParser:
    """Make the parser whose options are the fields of `Config`, for the given kinds of loss and model, and of `own`."""
    from jsonargparse import ArgumentParser

    parser = ArgumentParser(prog=prog, description=description, exit_on_error=False, allow_abbrev=False)
    parser.add_argument(
        "--config",
        default=DEFAULT_CONFIG,
        help="YAML file, or the name of a shipped one; options here override it",
    )
    for options in (own, Config) if own else (Config,):
        _add(parser, options, kinds)
    return parser


def _add(
    parser: ArgumentParser, options: type, kinds: Mapping[str, type], prefix: str = "", title: str | None = None
) -> None:
    """Add the fields of an options class, one section of the help for each class."""
    group = parser.add_argument_group(title) if title else parser
    texts, hints = field_docs(options), typing.get_type_hints(options)
    for field in dataclasses.fields(options):
        name = f"{prefix}{field.name}"
        kind = kinds.get(name, hints[field.name])
        if dataclasses.is_dataclass(kind):
            # Of a loss or a model, its own sentence; of other options, that on their place.
            own = parse_from_object(typing.cast("type", kind)).short_description
            heading = own if name in kinds else texts.get(field.name, own)
            _add(parser, typing.cast("type", kind), kinds, f"{name}.", str(heading).removesuffix("."))
        else:
            group.add_argument(f"--{name}", type=kind, default=field.default, help=texts[field.name])


def field_docs(options: type) -> dict[str, str]:
    """Give the docstring under each field of an options class, and under those that it inherits."""
    texts: dict[str, str] = {}
    for owner in reversed(options.__mro__[:-1]):
        texts |= {item.arg_name: item.description or "" for item in parse_from_object(owner).params}
    return texts


def nearest_options(name: str, known: Collection[str]) -> str:
    """Say which options are meant: those that end alike, else those spelt alike, else all of the group."""
    last = name.rsplit(".", 1)[-1]
    if same := [other for other in known if other.rsplit(".", 1)[-1] == last]:
        return nearest_names(name, same)
    group = [other for other in known if other.startswith(f"{name.split('.', 1)[0]}.")]
    return nearest_names(name, group or known)


def normalised(argv: Sequence[str], known: Mapping[str, Any]) -> list[str]:
    """Check the names on the command line and write values as the parser takes them."""
    words: list[str] = []
    previous = ""
    for word in argv:
        flag, equals, value = word.partition("=")
        if flag.startswith("--") and flag not in ("--help", "--config"):
            if flag[2:] not in known:
                raise InputError(f"unknown option {flag!r}; {nearest_options(flag[2:], known)}")
            if equals:
                word = f"{flag}={_written(value, known[flag[2:]])}"
        elif previous.startswith("--") and previous[2:] in known:
            word = _written(word, known[previous[2:]])
        elif word not in ("-h", "--help"):
            raise InputError(f"unexpected argument {word!r}; options are given as --group.name VALUE (see --help)")
        previous = "" if equals else word
        words.append(word)
    return words


def _written(value: str, kind: Any) -> str:
    """Write a value of the command line as YAML: `1,2,3` is a list, `inf` a number, and text in a list stays text."""
    kinds = (kind, *typing.get_args(kind))
    if value == "null" or str in kinds:
        return value
    if list[str] in kinds:
        listed = yaml.load(value, yaml.BaseLoader) if value.startswith("[") else next(csv.reader([value]), [])
        return json.dumps([str(item).strip() for item in listed], ensure_ascii=False)
    sequence = any(typing.get_origin(item) in (list, tuple) for item in kinds)
    items = [f".{item.strip()}" if item.strip() == "inf" else item for item in value.split(",")]
    return f"[{','.join(items)}]" if sequence and not value.startswith("[") else ",".join(items)


def parsed(parser: ArgumentParser, given: dict[str, Any], argv: list[str]) -> dict[str, Any]:
    """Read the command line over given values.

    Raises:
        InputError: a value of the wrong type.
    """
    try:
        parser.parse_object(given)  # set_defaults takes values of any type
        parser.set_defaults(given)
        return parser.parse_args(argv).as_dict()
    except argparse.ArgumentError as error:
        raise InputError(_retold(str(error))) from error


def _retold(message: str) -> str:
    """Put a parser's message in the words of someone who types options."""
    key = re.search(r'Parser key "([^"]+)"', message)
    value = re.search(r"(?:Given value|Got value): (.*)", message)
    if not (key and value):
        return " ".join(message.split())
    expected = re.findall(r"Expected an? (?:<class '(\w+)'>|typing\.Literal\[([^\]]*)\])", message)
    kinds = " or ".join(kind or choices for kind, choices in expected).replace("NoneType", "null")
    return f"option --{key[1]}: expected {kinds or 'another type'}, found {value[1]!r}"
