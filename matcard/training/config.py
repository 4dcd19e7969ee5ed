"""From a YAML file and the command line to a checked `Config`, and back to YAML.

The names of the model, of the loss and of its base decide which options they take, so those names are read first.
"""

from __future__ import annotations

import argparse
import dataclasses
import types
import typing
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from matcard.data.kinds import kind_of
from matcard.data.options import ABOUT, DataOptions
from matcard.errors import InputError, nearest_names
from matcard.files import read_yaml, resource_dir
from matcard.losses import Loss, SampleLoss
from matcard.models import Classifier
from matcard.training.options import Config
from matcard.training.parser import DEFAULT_CONFIG, build_parser, nearest_options, normalised, parsed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from matcard.options import Named

NAMED: dict[str, type[Named]] = {"model": Classifier, "loss": Loss, "loss.base": SampleLoss}
"""Sections whose options depend on their `name`, and what goes by it."""
Own = TypeVar("Own")


def parse_config(argv: Sequence[str], *, prog: str, description: str, over: Sequence[Mapping[str, Any]] = ()) -> Config:
    """Lay `--config FILE` over configs/train.yaml, and the command line's options over both.

    Options of a loss or model are set aside where a later layer names one of another kind. Where no layer above
    configs/train.yaml names a model, it is the default one for the kind of data.

    Args:
        argv: the words of the command line.
        prog: name of the command.
        description: what it does.
        over: more configurations, laid over that file and under the command line's options.

    Raises:
        InputError: unknown option (with the nearest names), wrong type, unreadable file.
    """
    config, _ = _parse(argv, None, prog=prog, description=description, over=over)
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
    """Parse the command line of a command that has options of its own beside those of a configuration.

    Args:
        argv: the words of the command line.
        own: options of the command (a dataclass) with the values that they have where they are not given.
        prog: name of the command.
        description: what it does.
        base: the configuration that `--config FILE` is laid over, in place of configs/train.yaml.
        over: more configurations, laid over that file and under the command line's options.

    Raises:
        InputError: as `parse_config`.
    """
    config, values = _parse(argv, own, prog=prog, description=description, base=base, over=over)
    return config, type(own)(**values)


def _parse(
    argv: Sequence[str],
    own: Any,
    *,
    prog: str,
    description: str,
    base: Mapping[str, Any] | None = None,
    over: Sequence[Mapping[str, Any]] = (),
) -> tuple[Config, dict[str, Any]]:
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for flag in ("config", *(f"{part}.name" for part in NAMED)):
        first.add_argument(f"--{flag}")
    named, rest = first.parse_known_args(list(argv))
    values = dict(base) if base is not None else read_default()
    names = {f"{part}.name": name for part in NAMED if (name := getattr(named, f"{part}.name")) is not None}
    layers = [
        read_config(find_yaml("config", named.config)) if named.config else {},
        *over,
        nested(names),
    ]
    if base is None and not any(_names_model(layer) for layer in layers):
        layers.insert(0, {"model": {"name": _default_model([values, *layers], rest)}})
    for layer in layers:
        values = overlaid(values, layer)
    kinds = option_kinds(values)
    known = dict(option_types(Config, kinds))
    given = flatten(values)
    check_names(given, known)
    given = {name: _as_text(value, known[name]) for name, value in given.items() if name in known}  # no empty sections
    parser = build_parser(kinds, prog=prog, description=description, own=type(own) if own else None)
    if own:
        known |= option_types(type(own), {})
        given |= {field.name: getattr(own, field.name) for field in dataclasses.fields(own)}
    filled = parsed(parser, given, normalised(rest, known))
    beside = {field.name: filled[field.name] for field in dataclasses.fields(own)} if own else {}
    return _build(Config, {field.name: filled[field.name] for field in dataclasses.fields(Config)}, kinds), beside


def _names_model(layer: Mapping[str, Any]) -> bool:
    section = layer.get("model")
    return isinstance(section, dict) and "name" in section


def _default_model(layers: Sequence[Mapping[str, Any]], argv: Sequence[str]) -> str:
    """Find what kind of data the configurations and the command line describe, and the model for it."""
    deciding = ("source", "kind", "structure_column", "composition_column")
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for name in deciding:
        parser.add_argument(f"--data.{name}", dest=name)
    known, _ = parser.parse_known_args(list(argv))
    values: dict[str, Any] = {}
    for section in (*(layer.get("data") for layer in layers), vars(known)):
        if isinstance(section, dict):
            values |= {name: section[name] for name in deciding if isinstance(section.get(name), str)}
    return ABOUT[kind_of(DataOptions(**values))].network


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
    return typing.cast("dict[str, Any]", _plain(dataclasses.asdict(config)))


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
            filled[name] = tuple(value) if isinstance(value, list) and _is_tuple(kind) else value
    return options(**filled)


def _is_tuple(kind: Any) -> bool:
    choices = typing.get_args(kind) if typing.get_origin(kind) in (typing.Union, types.UnionType) else (kind,)
    return any(typing.get_origin(item) is tuple for item in choices)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
