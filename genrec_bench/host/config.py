"""Typed configuration: frozen dataclasses filled from TOML values or from command-line strings, typos refused.

The only place that converts text to values. Knows nothing of what the options mean.
"""

from __future__ import annotations

import ast
import inspect
import io
import math
import textwrap
import tokenize
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, asdict, field, fields
from typing import Any, Literal, Union, get_args, get_origin

from genrec_bench.errors import ConfigError, did_you_mean


def make_config(cls: type, values: Mapping[str, Any], part: str) -> Any:
    """Build `cls` from `values`. ConfigError names the key (`part.key`) that is unknown, missing or of a wrong type.

    Strings are converted to the field's type, so `{"epochs": "3"}` from a command line and `{"epochs": 3}` are equal.
    """
    hints = typing.get_type_hints(cls)
    known = {each.name: each for each in fields(cls)}
    made: dict[str, Any] = {}
    for key, value in values.items():
        if key not in known:
            options = ", ".join(sorted(known)) or "none"
            raise ConfigError(
                f"{part} has no option {key!r}.{did_you_mean(key, known)} Its options: {options}.", part=part, key=key
            )
        try:
            made[key] = convert(value, hints[key])
        except ValueError as error:
            raise ConfigError(f"{part}.{key} = {value!r}: {error}", part=part, key=key) from None
    for name, each in known.items():
        if name not in made and _required(each):
            raise ConfigError(f"{part}.{name} must be given: --set {part}.{name}=...", part=part, key=name)
    try:
        return cls(**made)
    except ValueError as error:
        raise ConfigError(f"{part}: {error}", part=part, key=None) from None


def convert(value: Any, hint: Any) -> Any:
    """`value` as the type `hint`; ValueError says what was expected."""
    origin = get_origin(hint)
    if hint is Any:
        return value
    if origin is Literal:
        for choice in get_args(hint):
            if value == choice or str(value) == str(choice):
                return choice
        closest = did_you_mean(str(value), map(str, get_args(hint)))
        raise ValueError(f"expected one of {', '.join(map(str, get_args(hint)))}{closest and '.' + closest}")
    if origin in (Union, types.UnionType):
        return _convert_union(value, get_args(hint))
    if origin in (tuple, list):
        parts = [part for part in value.split(",") if part] if isinstance(value, str) else value
        return tuple(convert(part, get_args(hint)[0]) for part in parts)
    if hint is bool:
        words = {
            "true": True,
            "yes": True,
            "on": True,
            "1": True,
            "false": False,
            "no": False,
            "off": False,
            "0": False,
        }
        if isinstance(value, bool):
            return value
        if str(value).lower() in words:
            return words[str(value).lower()]
        raise ValueError("expected true or false")
    if hint is int:
        return _convert_int(value)
    if hint is float:
        try:
            if isinstance(value, bool) or not math.isfinite(float(value)):
                raise ValueError
            return float(value)
        except (TypeError, ValueError, OverflowError):
            raise ValueError("expected a finite number") from None
    if hint is str:
        if isinstance(value, str):
            return value
        raise ValueError("expected a text")
    raise ValueError(f"no conversion to {hint}")


def _convert_int(value: Any) -> int:
    try:
        if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
            raise ValueError
        return int(value)
    except (TypeError, ValueError, OverflowError):
        raise ValueError("expected a whole number") from None


def _convert_union(value: Any, hints: tuple[Any, ...]) -> Any:
    if type(None) in hints and (value is None or value in ("", "none")):
        return None
    reasons = []
    for hint in hints:
        if hint is not type(None):
            try:
                return convert(value, hint)
            except ValueError as error:
                reasons.append(str(error))
    raise ValueError(" or ".join(reasons))


def later(default: Any) -> Any:
    """A field that a published configuration class got later: `escalate: bool = later(False)`.

    At its default it is left out of resolved specs, so that what ran before it existed keeps its identity.
    """
    return field(default=default, metadata={"later": True})


def config_dict(config: Any) -> dict[str, Any]:
    """Every option with its value, as JSON-able data; those that came `later` only where they are not their default."""
    silent = {f.name for f in fields(config) if f.metadata.get("later") and getattr(config, f.name) == f.default}
    told = {key: value for key, value in asdict(config).items() if key not in silent}
    return {key: list(value) if isinstance(value, tuple) else value for key, value in told.items()}


def describe_config(cls: type) -> list[dict[str, str]]:
    """Every option of a configuration class: `name`, `type`, `default`, and `meaning`, which is the comment behind it.

    `meaning` is empty where there is no comment or no source to read.
    """
    comments: dict[str, str] = {}
    for owner in reversed(cls.__mro__):
        comments |= _comments(owner)
    hints = typing.get_type_hints(cls)
    return [
        {
            "name": each.name,
            "type": _type_name(hints[each.name]),
            "default": "must be given" if _required(each) else str(_default(each)),
            "meaning": comments.get(each.name, ""),
        }
        for each in fields(cls)
    ]


def _type_name(hint: Any) -> str:
    if hint is type(None):
        return "none"
    if get_origin(hint) in (Literal, Union, types.UnionType):
        return " | ".join(_type_name(arg) if get_origin(hint) is not Literal else str(arg) for arg in get_args(hint))
    return hint.__name__ if isinstance(hint, type) and get_origin(hint) is None else str(hint)


def _required(each: Any) -> bool:
    return each.default is MISSING and each.default_factory is MISSING


def _default(each: Any) -> Any:
    return each.default if each.default is not MISSING else each.default_factory()


def _comments(owner: type) -> dict[str, str]:
    """The comments on the lines of a class's annotated fields, by field."""
    try:
        source = textwrap.dedent(inspect.getsource(owner))
    except (OSError, TypeError):
        return {}
    said: dict[int, str] = {}
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            said[token.start[0]] = token.string.lstrip("# ")
    (body,) = ast.parse(source).body
    found = {}
    for node in getattr(body, "body", ()):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            lines = range(node.lineno, (node.end_lineno or node.lineno) + 1)
            found[node.target.id] = " ".join(said[line] for line in lines if line in said)
    return found
