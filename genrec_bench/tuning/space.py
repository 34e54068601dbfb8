"""Search spaces: the options that a tuning search may vary, and their values, from components, lines or TOML files.

A line is `part.option=LOW:HIGH`, `part.option=LOW:HIGH:log` or `part.option=A,B,C`. Knows nothing of samplers.
"""

from __future__ import annotations

import math
import typing
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genrec_bench.core.files import expand_home
from genrec_bench.errors import ConfigError, UsageError, did_you_mean
from genrec_bench.host.config import convert
from genrec_bench.host.contracts import Component
from genrec_bench.runs.plan import Plan
from genrec_bench.runs.spec import flat_options, read_toml

TUNED = ("indexer", "backbone", "baseline")  # decoders are compared on the same weights, so they are not tuned
NOT_UNDERSTOOD = "(not understood)"
FORMS = "LOW:HIGH, LOW:HIGH:log or A,B,C"


@dataclass(frozen=True)
class Range:
    """From `low` to `high`, both included; whole numbers if `whole`, uniform in the logarithm if `log`."""

    low: float
    high: float
    log: bool = False
    whole: bool = False

    def __str__(self) -> str:
        return f"{self.low:g}:{self.high:g}{':log' if self.log else ''}"


@dataclass(frozen=True)
class Choice:
    """One of several values without an order."""

    values: tuple[Any, ...]

    def __str__(self) -> str:
        return ",".join(map(str, self.values))


Space = Mapping[str, Range | Choice]  # by `part.option`


def space_of(plan: Plan, lines: Iterable[str] = (), fixed: Collection[str] = ()) -> Space:
    """What to vary in a plan: the options in `lines` (or TOML files of them), or those that its components declare.

    Options in `fixed` are never varied. ConfigError or UsageError names the line, file or component that makes no sense, or
    the system that has nothing to vary.
    """
    chosen: dict[str, Any] = {}
    for line in lines:
        is_file = "=" not in line and line.endswith(".toml")
        chosen |= _from_file(Path(expand_home(line))) if is_file else _from_line(line)
    for key in chosen:
        if key in fixed:
            raise ConfigError(f"space {key!r}: --set fixes it: drop one of the two", part="space", key=key)

    varied = chosen or {key: value for key, value in _declared(plan).items() if key not in fixed}
    if not varied:
        spec, part = plan.spec, "baseline" if plan.spec.baseline else "backbone"
        if not spec.options.get(part):
            raise UsageError(f"{spec.system} has no options: there is nothing to tune")
        raise UsageError(f"{spec.system} declares nothing to vary: say what with --space {part}.OPTION={FORMS}")
    return {key: _parsed(plan, key, value) for key, value in sorted(varied.items())}


def _declared(plan: Plan) -> dict[str, Any]:
    """The search spaces that the components declare, by `part.option`."""
    return {
        f"{name}.{option}": value
        for name, part in plan.parts.items()
        if name in TUNED
        for option, value in part.component.search_space.items()
    }


def described(cls: type[Component]) -> dict[str, str]:
    """A component's declared search space, by option, as `--space` reads it. Bars separate choices that are lists."""
    hints, texts = typing.get_type_hints(cls.Config), {}
    for option, value in cls.search_space.items():
        try:
            options = _range_or_choice(value, hints[option])
        except (ValueError, KeyError):
            texts[option] = f"{value!r} {NOT_UNDERSTOOD}"
            continue

        if isinstance(options, Choice) and any(isinstance(choice, list) for choice in options.values):
            texts[option] = " | ".join(",".join(map(str, choice)) for choice in options.values)
        else:
            texts[option] = str(options)
    return texts


def _from_line(line: str) -> dict[str, str]:
    key, equals, value = line.partition("=")
    if not equals or not value.strip() or not all(key.strip().partition(".")):
        raise ConfigError(f"--space {line!r}: write part.option={FORMS}, or a .toml file", part="space", key=None)
    return {key.strip(): value.strip()}


def _from_file(path: Path) -> dict[str, Any]:
    """`part.option = "LOW:HIGH:log"` or `part.option = [choices]`; quoted keys or tables alike."""
    return flat_options(read_toml(path))


def _parsed(plan: Plan, key: str, value: Any) -> Range | Choice:
    part, _, option = key.partition(".")
    tunable = [name for name in plan.parts if name in TUNED]
    if part not in tunable:
        raise ConfigError(f"space {key!r}: only {', '.join(tunable)} can be tuned here", part=part, key=option)

    options = plan.spec.options[part]
    if option not in options:
        hint = did_you_mean(option, options)
        raise ConfigError(
            f"space {key!r}: {part} has no option {option!r}.{hint} Its options: {', '.join(options)}.",
            part=part,
            key=option,
        )

    hint = typing.get_type_hints(type(plan.parts[part].component).Config)[option]
    try:
        return _range_or_choice(value, hint)
    except ValueError as error:
        raise ConfigError(f"space {key} = {value!r}: {error}", part=part, key=option) from None


def _range_or_choice(value: Any, hint: Any) -> Range | Choice:
    """The range or choice that a value describes. ValueError says what is wrong with it."""
    if isinstance(value, str) and ":" in value:
        low, high, *rest = value.split(":")
        if rest not in ([], ["log"]):
            raise ValueError(f"expected {FORMS}")
        return _range(low, high, bool(rest), hint)
    if isinstance(value, tuple) and len(value) in (2, 3) and value[2:] in ((), ("log",)):
        return _range(value[0], value[1], len(value) == 3, hint)

    choices = [part.strip() for part in value.split(",")] if isinstance(value, str) else value
    if not isinstance(choices, list) or len(choices) < 2:
        raise ValueError(f"expected {FORMS}; one value is set with --set")

    values = [convert(choice, hint) for choice in choices]
    if any(value in values[:number] for number, value in enumerate(values)):
        raise ValueError("a choice occurs twice")
    return Choice(tuple(list(value) if isinstance(value, tuple) else value for value in values))


def _range(low: Any, high: Any, log: bool, hint: Any) -> Range:
    ends = [convert(end, hint) for end in (low, high)]
    if any(isinstance(end, bool) or not isinstance(end, int | float) for end in ends):
        raise ValueError("a range needs numbers: give choices A,B,C")
    if not ends[0] < ends[1] or not all(map(math.isfinite, ends)):
        raise ValueError("a range goes from a smaller to a larger number")
    if log and ends[0] <= 0:
        raise ValueError("a range in logarithms starts above 0")
    return Range(ends[0], ends[1], log=log, whole=all(isinstance(end, int) for end in ends))
