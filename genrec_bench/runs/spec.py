"""Specs of a run: one system on one data set, one task, one seed.

A `RunSpec` is what was asked: it names components and overrides options. `genrec_bench.runs.plan.resolve` fills in every
option of every component. The canonical JSON of the `ResolvedSpec` gives `spec_id` and, without the seed, `system_id`.
"""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import InitVar, dataclass, field, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from genrec_bench.core.data_files import as_file
from genrec_bench.core.files import expand_home, read_text
from genrec_bench.errors import ConfigError, UsageError, did_you_mean

if TYPE_CHECKING:
    from genrec_bench.host.contracts import Task

DEFAULT_PROFILE = "quick"
DEFAULT_DECODER = "genrec-bench:trie"  # with the distribution, so that no other `trie` takes its place
DEFAULT_BEAMS = 50
PARTS = ("dataset", "indexer", "backbone", "decoder", "baseline")
GENERATOR_PARTS = ("indexer", "backbone", "decoder")
TASKS = ("direct", "sequential")
LISTS = "lists"  # the baseline of lists made elsewhere; its option `name` says what made them

Options = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class RunSpec:
    """What was asked: a run of `indexer` and `backbone` (and perhaps `decoder`), or of `baseline`.

    `dataset` is a name or the path of a file. `options` holds options by part; `set` gives them in one level:
    `{"backbone.epochs": 3}`. Resolving the spec fills in defaults for None. Neither the spec nor its options can be changed; `with_` makes another spec. ConfigError or
    UsageError if the spec makes no sense.

    >>> RunSpec(indexer="random", backbone="lightlm", set={"backbone.epochs": 3}).options.get("backbone")
    mappingproxy({'epochs': 3})
    """

    dataset: str = "ml-100k"
    task: str | None = None
    protocol: str = "loo-full/1"
    indexer: str | None = None
    backbone: str | None = None
    decoder: str | None = None
    baseline: str | None = None
    profile: str | None = None
    beams: int | None = None
    seed: int = 0
    options: Options = field(default_factory=dict)
    set: InitVar[Mapping[str, Any] | None] = None

    def __post_init__(self, set: Mapping[str, Any] | None) -> None:
        _check_types({**vars(self), "set": set})
        options = {part: dict(values) for part, values in self.options.items()}

        for key, value in (set or {}).items():
            part, dot, name = key.partition(".")
            if not dot or not name:
                raise ConfigError(
                    f"{key!r} does not name an option: write part.key=value, e.g. backbone.epochs=3", part=part, key=key
                )
            options.setdefault(part, {})[name] = value

        dataset, of_dataset = as_file(self.dataset, options.get("dataset", {}))
        object.__setattr__(self, "dataset", dataset)
        if of_dataset:
            options["dataset"] = of_dataset

        object.__setattr__(self, "options", _frozen(options))
        _check_parts(options)
        _check_task_and_seed(self.task, self.seed)
        self._check_system()

    def _check_system(self) -> None:
        if self.baseline is not None:
            for name in (*GENERATOR_PARTS, "beams", "profile"):
                if getattr(self, name) is not None:
                    raise UsageError(f"a baseline has no {name}: drop --{name} or --baseline")
        elif self.indexer is None or self.backbone is None:
            missing = "indexer" if self.indexer is None else "backbone"
            raise UsageError(f"no {missing} given: a run needs --indexer and --backbone, or --baseline")

        for part in self.options:
            if part != "dataset" and (part == "baseline") == (self.baseline is None):
                raise ConfigError(f"this run has no {part}, so {part}.* cannot be set", part=part, key=None)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RunSpec:
        """From JSON or TOML data; unknown keys are errors."""
        _check_keys(values, [*(f.name for f in fields(cls)), "set"])
        return cls(**values)

    @classmethod
    def from_toml(cls, path: Path | str) -> RunSpec:
        """From a TOML file with the fields of this class; options are tables `[options.backbone]`, or in `[set]`."""
        return cls.from_dict(read_toml(Path(expand_home(path))))

    def to_dict(self) -> dict[str, Any]:
        """Plain data without empty fields; `from_dict` reads it back."""
        return _plain(self)

    def with_(self, **changes: Any) -> RunSpec:
        """A copy with fields changed."""
        return replace(self, **changes)


@dataclass(frozen=True)
class ResolvedSpec:
    """A fully specified run: it names every part, and `options` holds every option of every part.

    A generator has `indexer`, `backbone`, `decoder`, `profile` and `beams`; a baseline has `baseline`.
    """

    dataset: str
    task: Task
    protocol: str
    seed: int
    options: Options
    indexer: str | None = None
    backbone: str | None = None
    decoder: str | None = None
    baseline: str | None = None
    profile: str | None = None
    beams: int | None = None

    def __post_init__(self) -> None:
        _check_types(vars(self))
        _check_parts(self.options)
        _check_task_and_seed(self.task, self.seed)
        object.__setattr__(self, "options", _frozen(self.options))

        wanted = ("baseline",) if self.baseline is not None else (*GENERATOR_PARTS, "profile", "beams")
        missing = [key for key in wanted if getattr(self, key) is None]
        missing += [f"options.{part}" for part in ("dataset", *wanted) if part in PARTS and part not in self.options]
        if missing:
            raise ConfigError(f"a resolved spec has no {missing[0]}", part="spec", key=missing[0])

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ResolvedSpec:
        """From the `spec` of a record. ConfigError if a key is unknown, missing or of a wrong type."""
        _check_keys(values, [f.name for f in fields(cls)])
        for key in ("dataset", "task", "protocol", "seed", "options"):
            if values.get(key) is None:
                raise ConfigError(f"a resolved spec has no {key}", part="spec", key=key)
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """Plain data without empty fields; `from_dict` reads it back."""
        return _plain(self)

    def asked(self, **changes: Any) -> RunSpec:
        """A spec that asks for exactly this run, with fields changed."""
        return RunSpec(**{**self.to_dict(), **changes})

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts that have a component. Lists made elsewhere have only a data set."""
        if self.baseline == LISTS:
            return ("dataset",)
        return ("dataset", "baseline") if self.baseline is not None else ("dataset", *GENERATOR_PARTS)

    @property
    def spec_id(self) -> str:
        """16 hex digits that name the run, seed included."""
        return _identity(self.to_dict())

    @property
    def system_id(self) -> str:
        """16 hex digits that name the run without its seed: what seeds are averaged over."""
        return _identity({key: value for key, value in self.to_dict().items() if key != "seed"})

    @property
    def system(self) -> str:
        """A short name: `sci / lightlm / trie`, or the baseline's name."""
        return baseline_name(self.to_dict()) or f"{self.indexer} / {self.backbone} / {self.decoder}"


def _plain(spec: RunSpec | ResolvedSpec) -> dict[str, Any]:
    values = {f.name: getattr(spec, f.name) for f in fields(spec)}
    values["options"] = {part: dict(options) for part, options in spec.options.items()}
    return {key: value for key, value in values.items() if value not in (None, {})}


def _frozen(options: Options) -> Options:
    return MappingProxyType({part: MappingProxyType(dict(values)) for part, values in options.items()})


def _identity(values: Mapping[str, Any]) -> str:
    canonical = json.dumps(values, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def _check_keys(values: Mapping[str, Any], known: Sequence[str]) -> None:
    for key in values:
        if key not in known:
            raise ConfigError(f"a run spec has no key {key!r}.{did_you_mean(key, known)}", part="spec", key=key)


def _check_types(values: Mapping[str, Any]) -> None:
    """ConfigError for a value that cannot be run, or cannot go into a record."""
    types: dict[str, tuple[type, str]] = {
        **dict.fromkeys(("dataset", "task", "protocol", "profile", *PARTS[1:]), (str, "a text")),
        **dict.fromkeys(("seed", "beams"), (int, "a whole number")),
        **dict.fromkeys(("options", "set"), (Mapping, "a table of options")),
    }
    required = ("dataset", "protocol", "seed", "options")

    for key, value in values.items():
        kind, expected = types[key]
        if value is None and key not in required:
            continue
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise ConfigError(f"spec: {key} = {value!r}: expected {expected}", part="spec", key=key)

    tables = values["options"]
    for part, options in tables.items():
        if not isinstance(options, Mapping):
            raise ConfigError(f"spec: options.{part} = {options!r}: expected a table of options", part=part, key=None)

    for key in (*tables, *(key for options in tables.values() for key in options), *(values.get("set") or ())):
        if not isinstance(key, str):
            raise ConfigError(f"spec: {key!r} names an option: expected a text", part="spec", key=None)


def _check_parts(options: Options) -> None:
    for part in options:
        if part not in PARTS:
            known = ", ".join(PARTS)
            raise ConfigError(
                f"no part named {part!r}.{did_you_mean(part, PARTS)} Parts: {known}.", part=part, key=None
            )


def _check_task_and_seed(task: str | None, seed: int) -> None:
    if task not in (None, *TASKS):
        raise UsageError(f"no task {task!r}: {' or '.join(TASKS)}")
    if not 0 <= seed < 2**63:
        raise UsageError(f"seed {seed}: a seed is a whole number from 0 to 2**63 - 1")


def baseline_name(spec: Mapping[str, Any]) -> str | None:
    """The name of a spec's baseline; for lists made elsewhere, of what made them. None for a generator."""
    name = spec.get("baseline")
    return str(spec.get("options", {}).get("baseline", {}).get("name", name)) if name == LISTS else name


def distinguishing_options(specs: Sequence[Mapping[str, Any]]) -> list[str]:
    """The options in which resolved specs of the same components differ, one text per spec: `indexer.variant=joint beams=50`.

    An option is named if it differs among specs whose part has the same name (for a backbone also the same profile and
    task, which decide its defaults). Fractions are rounded to four digits if the specs still differ then.
    """
    options_of = [dict(_options_by_group(spec)) for spec in specs]

    values_of: dict[tuple[str, ...], set[str]] = {}
    for options in options_of:
        for key, value in options.items():
            values_of.setdefault(key, set()).add(value)

    # An option that only some specs of a group have distinguishes them too.
    group_sizes = Counter(group for options in options_of for group in {key[:-1] for key in options})
    counts = Counter(key for options in options_of for key in options)
    differing = {key for key, values in values_of.items() if len(values) > 1 or counts[key] < group_sizes[key[:-1]]}

    exact = [{key: value for key, value in options.items() if key in differing} for options in options_of]
    short = [{key: FRACTION.sub(_rounded, value) for key, value in options.items()} for options in exact]
    still_apart = len({*map(_joined, exact)}) == len({*map(_joined, short)})
    return [*map(_joined, short if still_apart else exact)]


FRACTION = re.compile(r"(?<![\w.])-?\d+\.\d+(e-?\d+)?(?![\w.])")


def _rounded(match: re.Match[str]) -> str:
    return f"{float(match[0]):.4g}"


def _joined(options: Mapping[tuple[str, ...], str]) -> str:
    return " ".join(f"{key[-1]}={value.replace(', ', ',')}" for key, value in options.items())


def _options_by_group(spec: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], str]]:
    """((part, name, defaults, `part.option`), value) for every option of a resolved spec, and for its beams."""
    for part in PARTS:
        defaults = f"{spec.get('profile')} {spec.get('task')}" if part == "backbone" else ""
        name = baseline_name(spec) if part == "baseline" else spec.get(part)
        group = (part, str(name), defaults)

        for key, value in spec.get("options", {}).get(part, {}).items():
            text = "none" if value is None else json.dumps(value)  # as `--set` takes it
            yield (*group, f"{part}.{key}"), value if isinstance(value, str) else text

    if spec.get("beams") is not None:
        yield ("beams",), str(spec["beams"])


TOML_BITS = 63  # of a whole number, beside its sign


def read_toml(path: Path) -> dict[str, Any]:
    """The unchecked keys of a TOML file that asks for runs; a command line may add to them."""
    try:
        values = tomllib.loads(read_text(path))
    except FileNotFoundError:
        raise UsageError(f"no spec file {path}") from None
    except (OSError, ValueError, RecursionError) as error:  # ValueError: no UTF-8, no TOML, or a number of 5,000 digits
        raise UsageError(f"{path} is not readable TOML: {error}") from None
    if any(number.bit_length() > TOML_BITS for number in _whole_numbers(values)):
        raise UsageError(f"{path} holds a number that is too large: TOML has whole numbers of 64 bits")

    if "set" in values:
        values["set"] = flat_options(values["set"])
    return values


def _whole_numbers(value: Any) -> Iterator[int]:
    """All whole numbers in plain data."""
    if isinstance(value, int):
        yield value
    elif isinstance(value, Mapping | list):
        for inner in value.values() if isinstance(value, Mapping) else value:
            yield from _whole_numbers(inner)


def flat_options(table: Any) -> dict[str, Any]:
    """Options by `part.option`, although TOML nests them: `backbone.epochs = 3` reads as `{"backbone": {"epochs": 3}}`."""
    if not isinstance(table, Mapping):
        raise ConfigError(
            f"spec: set = {table!r} is not a table: write [set] and part.key = value", part="spec", key="set"
        )
    flat: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, Mapping):
            flat |= {f"{key}.{option}": inner for option, inner in value.items()}
        else:
            flat[key] = value
    return flat


def dataset_options(settings: Mapping[str, Any]) -> dict[str, Any]:
    """`{"dataset.path": ...}` as `{"path": ...}`. ConfigError for an option of another part."""
    for key in settings:
        if not key.startswith("dataset."):
            raise ConfigError(f"--set {key}: only dataset.* can be set here", part=key.partition(".")[0], key=key)
    return {key.removeprefix("dataset."): value for key, value in settings.items()}
