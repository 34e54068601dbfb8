"""Options: from TOML values or command-line text to a frozen `Config`, and from a `Config` to its help.

A `Config` is a dataclass of pydantic (`@dataclass(frozen=True)` from `pydantic.dataclasses`). Its annotations say types and
ranges; a `model_validator` says which options go together. This module adds what a command line needs: text for lists and
for none, and one line for what is refused. It knows nothing of what the options mean.

The help of an option is the comment behind its field. Authors write it once, in the line where they read it; a description
inside `Field(...)` or a docstring below the field would take a second line and hide the default.

pydantic is imported when the first option is read: listings and tables do not wait for it.
"""

from __future__ import annotations

import ast
import inspect
import io
import textwrap
import tokenize
from collections.abc import Mapping
from dataclasses import asdict
from types import NoneType, UnionType
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Literal,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from genrec_bench.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

EXPECTED = {  # what an option should be, by pydantic's name of the error
    **dict.fromkeys(("int_type", "int_parsing", "int_parsing_size", "int_from_float"), "a whole number"),
    **dict.fromkeys(("float_type", "float_parsing", "finite_number"), "a finite number"),
    **dict.fromkeys(("bool_type", "bool_parsing"), "true or false"),
    "string_type": "a text",
}
LIMITS = {
    "greater_than_equal": "at least",
    "greater_than": "above",
    "less_than_equal": "at most",
    "less_than": "below",
}


def make_config(cls: type, values: Mapping[str, Any], part: str) -> Any:
    """Build `cls` from `values`. ConfigError names the key (`part.key`) that is unknown, missing or refused.

    Strings are converted to the field's type, so `{"epochs": "3"}` from a command line and `{"epochs": 3}` are equal.
    """
    hints = get_type_hints(cls, include_extras=True)
    options = inspect.signature(cls).parameters
    converted: dict[str, Any] = {}

    for key, value in values.items():
        if key not in options:
            known = ", ".join(sorted(options)) or "none"
            raise ConfigError(
                f"{part} has no option {key!r}.{did_you_mean(key, options)} Its options: {known}.", part=part, key=key
            )
        try:
            converted[key] = convert(value, hints[key])
        except ValueError as error:
            raise ConfigError(f"{part}.{key} = {value!r}: {error}", part=part, key=key) from None

    for name, option in options.items():
        if name not in converted and option.default is option.empty:
            raise ConfigError(f"{part}.{name} must be given: --set {part}.{name}=...", part=part, key=name)

    try:
        return cls(**converted)
    except ValueError as error:
        raise ConfigError(f"{part}: {_rule_broken(error)}", part=part, key=None) from None


def convert(value: Any, hint: Any) -> Any:
    """`value` as the type `hint`, within its range; ValueError says what was expected."""
    from pydantic import ConfigDict, TypeAdapter, ValidationError
    from pydantic.errors import PydanticUserError

    if isinstance(value, str):
        value = _from_text(value, hint)
    elif isinstance(value, list):
        value = tuple(value)
    # Without `strict`, true would be the number 1.
    strict = any(isinstance(part, bool) for part in (value if isinstance(value, tuple) else (value,)))

    try:
        return TypeAdapter(hint, config=ConfigDict(allow_inf_nan=False)).validate_python(value, strict=strict)
    except ValidationError as error:
        raise ValueError(_reasons(error, hint)) from None
    except PydanticUserError:
        raise ValueError(f"no option can be of the type {_type_name(hint)}") from None


def _from_text(text: str, hint: Any) -> Any:
    """What a command line means by `text` where pydantic would not know: none, a list, a choice that is a number."""
    kinds = _kinds(hint)
    if NoneType in kinds and text in ("", "none"):
        return None
    for choice in _choices(kinds):
        if str(choice) == text:
            return choice
    if any(get_origin(kind) in (tuple, list) for kind in kinds):
        return tuple(part for part in text.split(",") if part)
    return text


def _kinds(hint: Any) -> list[Any]:
    """The types that a hint allows, without their ranges."""
    if get_origin(hint) is Annotated:
        return _kinds(get_args(hint)[0])
    if get_origin(hint) in (Union, UnionType):
        return [kind for part in get_args(hint) for kind in _kinds(part)]
    return [hint]


def _choices(kinds: list[Any]) -> list[Any]:
    return [choice for kind in kinds if get_origin(kind) is Literal for choice in get_args(kind)]


def _reasons(error: ValidationError, hint: Any) -> str:
    """Why a value is refused; a union gives a reason for each of its types."""
    choices = [str(choice) for choice in _choices(_kinds(hint))]
    reasons = []
    for details in error.errors():
        reason = _reason(details)
        if details["type"] == "literal_error" and choices:
            closest = did_you_mean(str(details["input"]), choices)
            reason = f"expected one of {', '.join(choices)}{closest and '.' + closest}"
        reasons.append(reason)
    return " or ".join(dict.fromkeys(reasons))


def _reason(details: ErrorDetails) -> str:
    kind, facts = details["type"], details.get("ctx", {})
    if kind in EXPECTED:
        return f"expected {EXPECTED[kind]}"
    if kind in LIMITS:
        (limit,) = facts.values()
        return f"must be {LIMITS[kind]} {limit:.12g}"
    if kind == "value_error":
        return str(facts["error"])
    return details["msg"][:1].lower() + details["msg"][1:]


def _rule_broken(error: ValueError) -> str:
    """What a Config says about options that do not go together."""
    from pydantic import ValidationError

    if not isinstance(error, ValidationError):
        return str(error)
    details = error.errors()[0]
    return " ".join([*map(str, details["loc"]), _reason(details)])


def config_dict(config: Any) -> dict[str, Any]:
    """Every option with its value, as JSON-able data."""
    return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(config).items()}


def describe_config(cls: type) -> list[dict[str, str]]:
    """Every option of a configuration class: `name`, `type`, `default`, and `meaning`, which is the comment behind it.

    `meaning` is empty where there is no comment or no source to read.
    """
    hints = get_type_hints(cls)
    comments: dict[str, str] = {}
    for owner in reversed(cls.__mro__):
        comments |= _comments(owner)

    return [
        {
            "name": name,
            "type": _type_name(hints[name]),
            "default": "must be given" if option.default is option.empty else str(option.default),
            "meaning": comments.get(name, ""),
        }
        for name, option in inspect.signature(cls).parameters.items()
    ]


def _type_name(hint: Any) -> str:
    if hint is NoneType:
        return "none"
    if get_origin(hint) is Literal:
        return " | ".join(map(str, get_args(hint)))
    if get_origin(hint) in (Union, UnionType):
        return " | ".join(map(_type_name, get_args(hint)))
    return hint.__name__ if isinstance(hint, type) and get_origin(hint) is None else str(hint)


def _comments(owner: type) -> dict[str, str]:
    """The comments behind the fields of a class, as its source has them."""
    try:
        source = textwrap.dedent(inspect.getsource(owner))
    except (OSError, TypeError):
        return {}

    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    by_line = {token.start[0]: token.string.lstrip("# ") for token in tokens if token.type == tokenize.COMMENT}

    comments = {}
    for node in ast.iter_child_nodes(ast.parse(source).body[0]):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            lines = range(node.lineno, (node.end_lineno or node.lineno) + 1)
            comments[node.target.id] = " ".join(by_line[line] for line in lines if line in by_line)
    return comments
