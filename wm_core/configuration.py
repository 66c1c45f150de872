"""Configuration: one YAML file per concern, validated into a frozen dataclass.

A configuration class is a frozen dataclass whose fields are made with `setting(...)`; the metadata holds the sentence, the unit and
the range that the YAML file, the ROS parameter descriptors and the error messages all share. Fields may be bool, int, float, str,
tuple[float, ...], tuple[str, ...], another configuration class, a tuple of them, or a dict from names to any of these.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from wm_core.errors import ConfigurationError, nearest


@dataclasses.dataclass(frozen=True)
class Setting:
    """What is known of one key: its sentence, unit, closed range, allowed words, and whether it may change while a node runs."""

    doc: str
    unit: str = ""
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    live: bool = False

    def range_text(self) -> str:
        if self.choices:
            return " | ".join(self.choices)
        if self.low is None and self.high is None:
            return "finite"
        low = "-inf" if self.low is None else f"{self.low:g}"
        high = "inf" if self.high is None else f"{self.high:g}"
        return f"{low} .. {high}"


def setting(
    doc: str,
    *,
    unit: str = "",
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] = (),
    live: bool = False,
    default: Any = dataclasses.MISSING,
) -> Any:
    """A dataclass field with its `Setting`; without a default the key is required in the YAML."""
    metadata = {"setting": Setting(doc, unit, low, high, choices, live)}
    if isinstance(default, dict):
        return dataclasses.field(default_factory=lambda: dict(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def read[Config](cls: type[Config], path: str | Path) -> Config:
    """The configuration in the YAML file at `path`."""
    return build(cls, read_mapping(path), source=str(path))


def read_mapping(path: str | Path) -> dict[str, Any]:
    """The top-level mapping of a YAML file; a file without one is refused."""
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError("configuration file cannot be read", got=error, mend="give the path of a YAML file") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is not valid YAML", got=str(error).replace("\n", " "), mend="correct the syntax") from error
    if not isinstance(content, dict):
        raise ConfigurationError(f"{path} holds no keys", got=type(content).__name__, allowed="a mapping 'key: value'")
    return content


def build[Config](cls: type[Config], mapping: Mapping[str, Any], source: str, path: str = "") -> Config:
    """Validate `mapping` into `cls`; `source` and `path` ("speed.linear") locate a fault in the error."""
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    hints = typing.get_type_hints(cls)
    for key in mapping:
        if key not in fields:
            raise ConfigurationError(
                f"unknown key '{path}{key}' in {source}",
                allowed=nearest(str(key), fields),
                mend=f"rename or remove it in {source}",
            )
    values = {}
    for name, field in fields.items():
        if name in mapping:
            values[name] = _convert(mapping[name], hints[name], field.metadata.get("setting", Setting("")), source, path + name)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise ConfigurationError(
                f"missing key '{path}{name}' in {source}",
                allowed=describe(field),
                mend=f"add '{name}: ...' to {source}",
            )
    return cls(**values)


def describe(field: dataclasses.Field[Any]) -> str:
    """Type, unit, range and sentence of a field, for error messages and documentation."""
    known: Setting = field.metadata.get("setting", Setting(""))
    unit = f" {known.unit}" if known.unit else ""
    return f"{known.range_text()}{unit} ({known.doc})"


def flatten(config: Any, prefix: str = "") -> dict[str, tuple[Any, Setting]]:
    """Scalar and flat-list settings by dotted name, e.g. {"speed.linear": (0.25, Setting)}; dicts and lists of configurations stay out."""
    flat: dict[str, tuple[Any, Setting]] = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            flat |= flatten(value, f"{prefix}{field.name}.")
        elif isinstance(value, (bool, int, float, str)) or (isinstance(value, tuple) and not any(map(dataclasses.is_dataclass, value))):
            flat[prefix + field.name] = (value, field.metadata.get("setting", Setting("")))
    return flat


def replace_flat[Config](config: Config, changes: Mapping[str, Any], source: str) -> Config:
    """`config` with dotted names replaced by new values, each validated as if it stood in the YAML; a list is replaced whole."""
    known = _names(config)
    for name in changes:
        if name not in known:
            raise ConfigurationError(
                f"unknown key '{name}' in {source}",
                allowed=nearest(name, known),
                mend=f"rename or remove it in {source}",
            )
    return _replace(config, changes, source, "")


def _names(config: Any, prefix: str = "") -> list[str]:
    """The dotted names of all settings, lists and dicts of configurations among them."""
    values = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    inner = {name: _names(value, f"{prefix}{name}.") for name, value in values.items() if dataclasses.is_dataclass(value)}
    return [found for name in values for found in inner.get(name, [prefix + name])]


def _replace(config: Any, changes: Mapping[str, Any], source: str, path: str) -> Any:
    hints = typing.get_type_hints(type(config))
    values = {}
    for field in dataclasses.fields(config):
        name = path + field.name
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            values[field.name] = _replace(value, changes, source, name + ".")
        elif name in changes:
            values[field.name] = _convert(changes[name], hints[field.name], field.metadata.get("setting", Setting("")), source, name)
    return dataclasses.replace(config, **values)


def _convert(value: Any, hint: Any, known: Setting, source: str, path: str) -> Any:
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in typing.get_args(hint):
            return None
        hint = next(arg for arg in typing.get_args(hint) if arg is not type(None))
        origin = typing.get_origin(hint)
    if dataclasses.is_dataclass(hint):
        _expect(isinstance(value, Mapping), value, "a mapping of keys", source, path)
        return build(typing.cast(type[Any], hint), value, source, path + ".")
    if origin is tuple:
        _expect(isinstance(value, (list, tuple)), value, "a list", source, path)
        return _convert_list(value, typing.get_args(hint), known, source, path)
    if origin is dict:
        _expect(isinstance(value, Mapping), value, "a mapping of names", source, path)
        inner = typing.get_args(hint)[1]
        return {str(key): _convert(item, inner, known, source, f"{path}.{key}") for key, item in value.items()}
    return _convert_scalar(value, hint, known, source, path)


def _convert_list(value: Any, arguments: tuple[Any, ...], known: Setting, source: str, path: str) -> tuple[Any, ...]:
    inner, length = arguments[0], None if arguments[-1] is Ellipsis else len(arguments)
    if length is not None and len(value) != length:
        _expect(False, value, f"a list of {length}", source, path)
    return tuple(_convert(item, inner, known, source, f"{path}[{index}]") for index, item in enumerate(value))


def _convert_scalar(value: Any, hint: Any, known: Setting, source: str, path: str) -> Any:
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if hint in (bool, int, float, str):
        right = isinstance(value, hint) and not (hint is int and isinstance(value, bool))
        _expect(right, f"{value!r} ({type(value).__name__})", hint.__name__, source, path)
    if isinstance(value, float):
        _expect(math.isfinite(value), value, f"a finite number, {known.range_text()} {known.unit}".rstrip(), source, path)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        low, high = known.low, known.high
        inside = (low is None or value >= low) and (high is None or value <= high)
        _expect(inside, value, f"{known.range_text()} {known.unit}".rstrip(), source, path)
    if known.choices and isinstance(value, str):
        _expect(value in known.choices, value, f"{known.range_text()} ({nearest(value, known.choices)})", source, path)
    return value


def _expect(right: bool, got: Any, allowed: str, source: str, path: str) -> None:
    if not right:
        raise ConfigurationError(f"'{path}' in {source} is not valid", got=got, allowed=allowed, mend=f"change '{path}' in {source}")
