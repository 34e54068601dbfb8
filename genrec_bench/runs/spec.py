"""What is asked: one system on one data set, one task, one seed.

A `RunSpec` names components and overrides options. Resolving it (`genrec_bench.runs.run.resolve`) fills in every option
of every component; the canonical JSON of the resolved spec gives `spec_id`, and without the seed `system_id`.
"""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from genrec_bench.errors import ConfigError, UsageError, did_you_mean

PARTS = ("dataset", "indexer", "backbone", "decoder", "baseline")
DEFAULT_BEAMS = 50
LISTS = "lists"  # the baseline of a spec whose ranked lists were made elsewhere: its option `name` says by what


@dataclass(frozen=True)
class RunSpec:
    """One run. Give either `indexer` and `backbone` (and perhaps `decoder`), or `baseline`.

    `set` overrides options, `{"backbone.epochs": 3}`; `options` is the same by part, and after resolving holds every
    option of every part. `beams`, `profile` and `decoder` are None for a baseline.

    >>> RunSpec(indexer="random", backbone="lightlm", set={"backbone.epochs": 3}).options
    {'backbone': {'epochs': 3}}
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
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    resolved: bool = False
    set: Mapping[str, Any] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        self._check_types()
        options = {part: dict(values) for part, values in self.options.items()}
        for key, value in (self.set or {}).items():
            part, dot, name = key.partition(".")
            if not dot or not name:
                raise ConfigError(
                    f"{key!r} is no option: write part.key=value, e.g. backbone.epochs=3", part=part, key=key
                )
            options.setdefault(part, {})[name] = value
        for part in options:
            if part not in PARTS:
                known = ", ".join(PARTS)
                raise ConfigError(
                    f"no part named {part!r}.{did_you_mean(part, PARTS)} Parts: {known}.", part=part, key=None
                )
        object.__setattr__(self, "options", options)
        object.__setattr__(self, "set", None)
        if self.task not in (None, "direct", "sequential"):
            raise UsageError(f"no task {self.task!r}: direct or sequential")
        if not 0 <= self.seed < 2**63:
            raise UsageError(f"seed {self.seed}: a seed is a whole number from 0 to 2**63 - 1")
        if not self.resolved:
            self._check_system()

    def _check_types(self) -> None:
        """ConfigError for a value that could not be run, or written to a record."""
        wanted: dict[str, tuple[type, str]] = {
            **dict.fromkeys(("dataset", "task", "protocol", "profile", *PARTS[1:]), (str, "a text")),
            **dict.fromkeys(("seed", "beams"), (int, "a whole number")),
            **dict.fromkeys(("options", "set"), (Mapping, "a table of options")),
            "resolved": (bool, "true or false"),
        }
        for key, (kind, words) in wanted.items():
            value = getattr(self, key)
            if value is None and key not in ("dataset", "protocol", "seed", "options", "resolved"):
                continue
            if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
                raise ConfigError(f"spec: {key} = {value!r}: expected {words}", part="spec", key=key)
        for part, options in self.options.items():
            if not isinstance(options, Mapping):
                raise ConfigError(f"spec: options.{part} = {options!r} is no table of options", part=part, key=None)
        for key in (*self.options, *(key for options in self.options.values() for key in options), *(self.set or ())):
            if not isinstance(key, str):
                raise ConfigError(f"spec: {key!r} names an option: expected a text", part="spec", key=None)

    def _check_system(self) -> None:
        if self.baseline is not None:
            for name in ("indexer", "backbone", "decoder", "beams", "profile"):
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
        known = [f.name for f in fields(cls)]
        for key in values:
            if key not in known:
                raise ConfigError(f"a run spec has no key {key!r}.{did_you_mean(key, known)}", part="spec", key=key)
        spec = cls(**values)
        if spec.resolved:
            _check_complete(values)
        return spec

    @classmethod
    def from_toml(cls, path: Path) -> RunSpec:
        """From a TOML file: the fields of this class, options as tables `[options.backbone]` or in `[set]`."""
        return cls.from_dict(read_toml(path))

    def to_dict(self) -> dict[str, Any]:
        """Plain data, without empty fields; `from_dict` reads it back."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "set"}
        return {key: value for key, value in values.items() if value is not None and value != {}}

    @property
    def spec_id(self) -> str:
        """16 hex digits naming the resolved spec, seed included."""
        return self._identity(self.to_dict())

    @property
    def system_id(self) -> str:
        """16 hex digits naming the resolved spec without its seed: what seeds are averaged over."""
        return self._identity({key: value for key, value in self.to_dict().items() if key != "seed"})

    def _identity(self, values: dict[str, Any]) -> str:
        if not self.resolved:
            raise UsageError("only a resolved spec has an id: use genrec_bench.runs.run.resolve(spec)")
        canonical = json.dumps(values, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]

    @property
    def system(self) -> str:
        """A short name: `sci / lightlm / trie`, or the baseline's name."""
        return baseline_name(self.to_dict()) or f"{self.indexer} / {self.backbone} / {self.decoder}"

    def with_(self, **changes: Any) -> RunSpec:
        """A copy with fields changed."""
        return replace(self, **changes)


def baseline_name(spec: Mapping[str, Any]) -> str | None:
    """What to call the baseline of a spec: its name, or for lists made elsewhere the name of what made them."""
    name = spec.get("baseline")
    return str(spec.get("options", {}).get("baseline", {}).get("name", name)) if name == LISTS else name


def telling_options(specs: Sequence[Mapping[str, Any]]) -> list[str]:
    """What tells resolved specs of equally named components apart, a text per spec: `indexer.variant=joint beams=50`.

    An option is named if it differs among the specs whose part has the same name (a backbone: the same
    profile and task too, which decide on its defaults). Fractions have four digits where these tell enough.
    """
    flat = [dict(_told(spec)) for spec in specs]
    seen: dict[tuple[str, ...], set[str]] = {}
    for spec in flat:
        for key, value in spec.items():
            seen.setdefault(key, set()).add(value)
    users = Counter(group for spec in flat for group in {key[:-1] for key in spec})
    having = Counter(key for spec in flat for key in spec)
    odd = {key for key, values in seen.items() if len(values) > 1 or having[key] < users[key[:-1]]}
    exact = [{key: value for key, value in spec.items() if key in odd} for spec in flat]
    short = [{key: FRACTION.sub(_rounded, value) for key, value in spec.items()} for spec in exact]
    apart = len({*map(_joined, exact)}) == len({*map(_joined, short)})
    return [*map(_joined, short if apart else exact)]


FRACTION = re.compile(r"(?<![\w.])-?\d+\.\d+(e-?\d+)?(?![\w.])")


def _rounded(found: re.Match[str]) -> str:
    return f"{float(found[0]):.4g}"


def _joined(options: Mapping[tuple[str, ...], str]) -> str:
    return " ".join(f"{key[-1]}={value.replace(', ', ',')}" for key, value in options.items())


def _told(spec: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], str]]:
    """((part, name, profile, `part.option`), value) of every option of a resolved spec, and its beams."""
    for part in PARTS:
        chosen = f"{spec.get('profile')} {spec.get('task')}" if part == "backbone" else ""  # where defaults come from
        name = baseline_name(spec) if part == "baseline" else spec.get(part)
        group = (part, str(name), chosen)
        for key, value in spec.get("options", {}).get(part, {}).items():
            text = "none" if value is None else json.dumps(value)  # as `--set` takes it
            yield (*group, f"{part}.{key}"), value if isinstance(value, str) else text
    if spec.get("beams") is not None:
        yield ("beams",), str(spec["beams"])


def _check_complete(values: Mapping[str, Any]) -> None:
    """ConfigError if a spec that calls itself resolved lacks something that resolving fills in."""
    parts = ("baseline",) if values.get("baseline") is not None else ("indexer", "backbone", "decoder")
    plain = ("task", "protocol") if parts == ("baseline",) else ("task", "protocol", "profile", "beams")
    options = values.get("options") or {}
    missing = [key for key in ("dataset", *plain, *parts) if values.get(key) is None]
    missing += [f"options.{part}" for part in ("dataset", *parts) if part not in options]
    if missing:
        raise ConfigError(
            f"a resolved spec has no {missing[0]}: resolve it with genrec_bench.runs.run.resolve",
            part="spec",
            key=missing[0],
        )


def read_toml(path: Path) -> dict[str, Any]:
    """The keys of a spec file, not yet checked: a command line may complete them."""
    try:
        values = tomllib.loads(path.read_text())
    except FileNotFoundError:
        raise UsageError(f"no spec file {path}") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{path} is no readable TOML: {error}") from None
    if "resolved" in values:
        raise ConfigError(f"{path}: a spec file asks, so it has no key 'resolved'", part="spec", key="resolved")
    if "set" in values:
        values["set"] = _dotted(values["set"])
    return values


def _dotted(settings: Any) -> dict[str, Any]:
    """`{"backbone": {"epochs": 3}}`, which is how TOML reads `backbone.epochs = 3`, as `{"backbone.epochs": 3}`."""
    if not isinstance(settings, Mapping):
        raise ConfigError(
            f"spec: set = {settings!r} is no table: write [set] and part.key = value", part="spec", key="set"
        )
    flat: dict[str, Any] = {}
    for part, values in settings.items():
        flat |= (
            {f"{part}.{key}": value for key, value in values.items()} if isinstance(values, Mapping) else {part: values}
        )
    return flat
