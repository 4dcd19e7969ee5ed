"""From a YAML file and the command line to a checked `Config`, and back to YAML.

Options are the fields of dataclasses, whose docstrings are the help. The names of the model, of the loss and of its
base decide which options they take, so those names are read first.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import json
import re
import types
import typing
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import yaml
from docstring_parser import parse_from_object
from jsonargparse import ArgumentParser

from matcard.data.kinds import kind_of
from matcard.data.options import ABOUT, DataOptions
from matcard.errors import InputError, nearest_names
from matcard.files import read_yaml, resource_dir
from matcard.losses import Loss, SampleLoss
from matcard.models import Classifier
from matcard.training.options import Config

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from matcard.options import Named

DEFAULT_CONFIG = "train.yaml"
NAMED: dict[str, type[Named]] = {"model": Classifier, "loss": Loss, "loss.base": SampleLoss}
"""Sections whose options depend on their `name`, and what goes by it."""
_DECIDING = ("source", "kind", "structure_column", "composition_column")
"""Options of the data that say of what kind they are."""
Own = TypeVar("Own")


def parse_config(argv: Sequence[str], *, prog: str, description: str, over: Sequence[Mapping[str, Any]] = ()) -> Config:
    """Parse the command line of a command that takes the options of a configuration alone; see `parse_beside`."""
    config, _ = parse_beside(argv, None, prog=prog, description=description, over=over)
    return config


def parse_beside(
    argv: Sequence[str],
    own: Own,
    *,
    prog: str,
    description: str,
    base: Mapping[str, Any] | None = None,
    over: Sequence[Mapping[str, Any]] = (),
) -> tuple[Config, Own]:
    """Lay `--config FILE` over configs/train.yaml, and the command line's options over both.

    Options of a loss or model are set aside where a later layer names one of another kind. Where no layer above
    configs/train.yaml names a model, it is the default one for the kind of data.

    Args:
        argv: the words of the command line.
        own: options that the command has beside those of a configuration (a dataclass), with the values that they have
            where they are not given; or None.
        prog: name of the command.
        description: what it does.
        base: the configuration that `--config FILE` is laid over, in place of configs/train.yaml.
        over: more configurations, laid over that file and under the command line's options.

    Raises:
        InputError: unknown option (with the nearest names), wrong type, unreadable file.
    """
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for name in ("config", *(f"{part}.name" for part in NAMED), *(f"data.{name}" for name in _DECIDING)):
        first.add_argument(f"--{name}")
    namespace, rest = first.parse_known_args(list(argv))
    named = {name: None if value == "null" else value for name, value in vars(namespace).items() if value is not None}
    file = named.pop("config", None)
    layers = [
        dict(base) if base is not None else read_default(),
        read_config(find_yaml("config", file)) if file else {},
        *over,
        nested(named),
    ]
    if base is None and not any("model.name" in flatten(layer) for layer in layers[1:]):
        said = {name: value for layer in layers for name, value in flatten(layer).items()}
        about = {name: said.get(f"data.{name}") for name in _DECIDING}
        known_kind: dict[str, Any] = {name: value for name, value in about.items() if isinstance(value, str)}
        layers.insert(1, {"model": {"name": ABOUT[kind_of(DataOptions(**known_kind))].network}})
    values: dict[str, Any] = {}
    for layer in layers:
        values = overlaid(values, layer)
    kinds = option_kinds(values)
    known = dict(option_types(Config, kinds))
    given = flatten(values)
    check_names(given, known)
    given = {name: _as_text(value, known[name]) for name, value in given.items() if name in known}  # no empty sections
    parser = ArgumentParser(prog=prog, description=description, exit_on_error=False, allow_abbrev=False)
    help_ = "YAML file, or the name of a shipped one; options here override it"
    parser.add_argument("--config", default=DEFAULT_CONFIG, help=help_)
    for options in (type(own), Config) if own else (Config,):
        _add(parser, options, kinds)
    if own:
        known |= option_types(type(own), {})
        given |= vars(own)
    filled = parsed(parser, given, normalised(rest, known))
    config = _build(Config, {field.name: filled[field.name] for field in dataclasses.fields(Config)}, kinds)
    return config, type(own)(**{name: filled[name] for name in vars(own)}) if own else own


def parse_alone(argv: Sequence[str], own: Own, *, prog: str, description: str) -> Own:
    """Parse the command line of a command that takes no configuration; arguments and errors as of `parse_beside`."""
    parser = ArgumentParser(prog=prog, description=description, exit_on_error=False, allow_abbrev=False)
    _add(parser, type(own), {})
    return type(own)(**parsed(parser, dict(vars(own)), normalised(argv, dict(option_types(type(own), {})))))


def config_from_dict(values: Mapping[str, Any]) -> Config:
    """Make a `Config` of a resolved configuration, as `config_to_dict` gives it, without any command line.

    Raises:
        InputError: an unknown option, with the nearest names.
    """
    kinds = option_kinds(values)
    check_names(flatten(values), dict(option_types(Config, kinds)))
    try:
        return typing.cast("Config", _build(Config, values, kinds))
    except TypeError as error:
        raise InputError(f"an option has a value of the wrong type ({error}); write it as it was") from error


def config_to_dict(config: Config) -> dict[str, Any]:
    """Give a resolved configuration as plain dictionaries, lists and numbers."""
    return dataclasses.asdict(
        config, dict_factory=lambda some: {name: list(it) if isinstance(it, tuple) else it for name, it in some}
    )


def read_config(path: Path) -> dict[str, Any]:
    """Read a YAML mapping of options.

    Raises:
        InputError: missing file, broken YAML (with its line), or something else than a mapping.
    """
    values = read_yaml(path)
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise InputError(f"{path}: expected a mapping of options such as 'data: {{target: gap}}', found {values!r:.80}")
    return values


def read_default() -> dict[str, Any]:
    """Read the shipped configuration that all others are laid over."""
    return read_config(resource_dir("configs") / DEFAULT_CONFIG)


def find_yaml(option: str, name: str, folder: str = "") -> Path:
    """Find a YAML file: a path, or the name, with or without .yaml, of one in the shipped configs or a folder of them.

    Raises:
        InputError: no such file; those shipped are named.
    """
    shipped = resource_dir("configs") / folder
    for path in (Path(name), shipped / name, shipped / f"{name}.yaml"):
        if path.is_file():
            return path
    raise InputError(f"--{option} {name}: no such file; {nearest_names(name, names_in(shipped))}")


def names_in(folder: Path) -> list[str]:
    """Name the YAML files of a folder."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


def option_types(options: type, kinds: Mapping[str, type], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Walk the dotted names of an options class with their types."""
    hints = typing.get_type_hints(options)
    for field in dataclasses.fields(options):
        name = f"{prefix}{field.name}"
        kind = kinds.get(name, hints[field.name])
        if dataclasses.is_dataclass(kind):
            yield from option_types(typing.cast("type", kind), kinds, f"{name}.")
        else:
            yield name, kind


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Give nested mappings as one of dotted names."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def nested(options: Mapping[str, Any]) -> dict[str, Any]:
    """Give options by dotted names as nested mappings."""
    result: dict[str, Any] = {}
    for name, value in options.items():
        *groups, last = name.split(".")
        inner = result
        for group in groups:
            inner = inner.setdefault(group, {})
        inner[last] = value
    return result


def overlaid(values: Mapping[str, Any], later: Mapping[str, Any], section: str = "") -> dict[str, Any]:
    """Lay one configuration over another; a loss or model of another kind replaces the earlier one's options."""
    merged = dict(values)
    for key, value in later.items():
        earlier = merged.get(key)
        if value is None and isinstance(earlier, dict):
            continue  # an empty section
        part = f"{section}{key}"
        if part in NAMED and isinstance(value, dict) and isinstance(earlier, dict) and "name" in value:
            find = NAMED[part].find
            if "name" not in earlier or find(_name(part, value)) is not find(earlier["name"]):
                earlier = {}
        both = isinstance(value, dict) and isinstance(earlier, dict)
        merged[key] = overlaid(typing.cast("Any", earlier), value, f"{part}.") if both else value
    return merged


def option_kinds(values: Mapping[str, Any]) -> dict[str, type]:
    """Find the options classes of the model, the loss and, where it has one, of its base."""
    kinds: dict[str, type] = {}
    for part, named in NAMED.items():
        outer, _, inner = part.rpartition(".")
        if not outer:
            kinds[part] = named.find(_name(part, values.get(part))).options_class
        elif inner in typing.get_type_hints(kinds[outer]):
            section = values[outer].get(inner) or {"name": getattr(kinds[outer](), inner).name}
            kinds[part] = named.find(_name(part, section)).options_class
    return kinds


def _name(part: str, section: Any) -> str:
    """Give the name of the loss or model that a section of a configuration describes."""
    if not isinstance(section, dict) or not isinstance(section.get("name"), str):
        raise InputError(f"option {part}: expected a mapping with a name, found {section!r}")
    return str(section["name"])


def check_names(values: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    """Refuse options, by dotted names, that are not among those known, and null where an option takes none.

    Raises:
        InputError: the first such option, with the nearest names.
    """
    for name, value in values.items():
        if name in known and value is None and types.NoneType not in typing.get_args(known[name]):
            raise InputError(f"option --{name} is null: give a value, or leave the line out for the default")
        if name in known or (value in ({}, None) and any(other.startswith(f"{name}.") for other in known)):
            continue
        raise InputError(f"unknown option {name!r}; {nearest_options(name, known)}")


def _as_text(value: Any, kind: Any) -> Any:
    """Give whole numbers of a file as text where an option takes text, such as a column that is called 1."""
    kinds = (kind, *typing.get_args(kind))
    if isinstance(value, list) and list[str] in kinds:
        return [_as_text(item, str) for item in value]
    return str(value) if str in kinds and type(value) is int and int not in kinds else value


def _build(options: type, values: Mapping[str, Any], kinds: Mapping[str, type], prefix: str = "") -> Any:
    hints = typing.get_type_hints(options)
    filled = {}
    for name, value in values.items():
        kind = kinds.get(f"{prefix}{name}", hints[name])
        if dataclasses.is_dataclass(kind):
            filled[name] = _build(typing.cast("type", kind), value or {}, kinds, f"{prefix}{name}.")
        else:
            origins = [typing.get_origin(item) for item in (kind, *typing.get_args(kind))]
            filled[name] = tuple(value) if isinstance(value, list) and tuple in origins else value
    return options(**filled)


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
            group.add_argument(f"--{name}", type=kind, default=field.default, help=texts[field.name].replace("%", "%%"))


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
        if flag.startswith("--") and flag != "--help":
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
