"""From a spec to a plan: finds, checks and constructs every component of a run, once.

Everything that can fail cheaply fails here: names, options, needs, missing libraries and files. Reads no data.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from genrec_bench import __version__
from genrec_bench.data.loading import make_dataset
from genrec_bench.errors import ConfigError, NeedsMissing, UsageError, did_you_mean
from genrec_bench.host import registry
from genrec_bench.host.config import config_dict, make_config
from genrec_bench.host.contracts import Backbone, Baseline, Component, Dataset, Decoder, Indexer, Task
from genrec_bench.host.faults import held_to
from genrec_bench.host.registry import ComponentInfo
from genrec_bench.host.sealing import opened_by
from genrec_bench.protocol.constants import EXTERNAL_IDS, KS, PROTOCOL, check_protocol
from genrec_bench.runs.spec import (
    DEFAULT_BEAMS,
    DEFAULT_DECODER,
    DEFAULT_PROFILE,
    GENERATOR_PARTS,
    LISTS,
    ResolvedSpec,
    RunSpec,
)

C = TypeVar("C", bound=Component)

DEFAULT_TASK = "direct"


@dataclass(frozen=True)
class Part(Generic[C]):
    """A component with its part in a run, and who supplied it."""

    info: ComponentInfo
    component: C

    def held_to(self, check: str) -> AbstractContextManager[None]:
        """For calls of the component's code: whatever goes wrong inside is reported as its fault."""
        return held_to(self.info, check)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the files, other than the data set, that the component reads; empty if there are none."""
        with self.held_to("fingerprint"):
            return str(self.component.fingerprint())


@dataclass(frozen=True)
class GeneratorParts:
    """The components of a generator."""

    indexer: Part[Indexer]
    backbone: Part[Backbone]
    decoder: Part[Decoder]


@dataclass(frozen=True)
class BaselineParts:
    """The component of a baseline."""

    baseline: Part[Baseline]


@dataclass(frozen=True)
class Plan:
    """A resolved spec with its components. `system` is None if the lists were made elsewhere.

    `changed` holds, by part, the options that are neither their defaults nor what the profile says.
    """

    spec: ResolvedSpec
    dataset: Part[Dataset]
    system: GeneratorParts | BaselineParts | None
    changed: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def parts(self) -> dict[str, Part[Any]]:
        """All parts by name, the data set first."""
        return {"dataset": self.dataset, **(vars(self.system) if self.system else {})}

    def describe_components(self) -> dict[str, Any]:
        """The record's section on components: name, distribution, version and a digest of the code."""
        return {
            name: {
                "name": part.info.name,
                "distribution": part.info.distribution,
                "version": part.info.version,
                "code": registry.code_digest(part.info),
            }
            for name, part in self.parts.items()
        }


def resolve(spec: RunSpec | ResolvedSpec, *, offers: frozenset[str] | None = None) -> Plan:
    """The plan of a spec, with every default and every option filled in.

    `offers`: what the data set offers, if it is loaded already and its files may be out of reach.

    UnknownComponent, ConfigError, NeedsMissing and others for wrong names, wrong options and missing libraries.
    """
    asked = spec.asked() if isinstance(spec, ResolvedSpec) else spec
    check_protocol(asked.protocol)
    names = _names(asked)
    if isinstance(spec, ResolvedSpec):  # its bare names mean built-ins, if there are any of that name
        names = {part: registry.as_built_in(part, name) for part, name in names.items()}

    infos = {part: registry.find(part, name) for part, name in names.items()}
    classes = {part: registry.load(part, name) for part, name in names.items()}
    settled = _settled(asked, classes)
    configs = _configs(asked, classes, settled)
    parts = {part: _built(infos[part], classes[part], configs[part]) for part in infos}

    unread = offers is None
    if offers is None:
        offers = opened_by(lambda: parts["dataset"].component.offers)[0]  # it may read the file's header
    _check_needs(asked.dataset, parts, offers | EXTERNAL_IDS)
    if "decoder" in parts:
        _check_normalisation(parts["backbone"], parts["decoder"])
    for name, part in parts.items():
        with part.held_to("ready"):
            if name != "dataset":
                part.component.ready()
            elif unread:
                opened_by(part.component.ready)

    named = {part: _resolved_name(info, names[part]) for part, info in infos.items()}
    resolved = ResolvedSpec(
        dataset=named["dataset"],
        protocol=asked.protocol or PROTOCOL,
        seed=asked.seed,
        options={part: config_dict(config) for part, config in configs.items()},
        indexer=named.get("indexer"),
        backbone=named.get("backbone"),
        decoder=named.get("decoder"),
        baseline=named.get("baseline"),
        **settled,
    )
    dataset = parts.pop("dataset")
    system = BaselineParts(**parts) if asked.baseline is not None else GeneratorParts(**parts)
    changed = {part: _changed(part, cls, configs[part], asked, settled) for part, cls in classes.items()}
    return Plan(resolved, dataset, system, changed)


def resolve_lists(lists: Mapping[str, Any], *, dataset: str, task: Task, seed: int, options: Mapping[str, Any]) -> Plan:
    """The plan of ranked lists made elsewhere: a data set with its `options`, and what `lists` says about them."""
    info, component = make_dataset(dataset, options)
    resolved = ResolvedSpec(
        dataset=_resolved_name(info, dataset),
        task=task,
        protocol=PROTOCOL,
        seed=seed,
        options={"dataset": config_dict(component.config), "baseline": lists},
        baseline=LISTS,
    )
    return Plan(resolved, Part(info, component), None)


def protocol_part(kind: str, name: str, component: C) -> Part[C]:
    """A part that the protocol itself needs: this package's own component, never looked up by name."""
    owner = registry.BUILT_IN
    target = f"{type(component).__module__}:{type(component).__qualname__}"
    return Part(ComponentInfo(kind, name, owner, __version__, target, (owner,)), component)


def _names(asked: RunSpec) -> dict[str, str]:
    """The component's name for each part."""
    if asked.baseline is not None:
        return {"dataset": asked.dataset, "baseline": asked.baseline}
    names = {part: getattr(asked, part) for part in GENERATOR_PARTS}
    return {"dataset": asked.dataset, **names, "decoder": asked.decoder or DEFAULT_DECODER}


def _resolved_name(info: ComponentInfo, name: str) -> str:
    """A built-in's plain name, however it was asked for, so that records name it in one way."""
    return info.name if info.distribution == registry.BUILT_IN else name


def _settled(asked: RunSpec, classes: Mapping[str, Any]) -> dict[str, Any]:
    """The task, and a generator's profile and beams."""
    if asked.baseline is not None:
        tasks = classes["baseline"].tasks
        task = asked.task or (DEFAULT_TASK if DEFAULT_TASK in tasks else tasks[0])
        if task not in tasks:
            raise UsageError(
                f"baseline {asked.baseline!r} supports the task {', '.join(tasks)} only: use --task {tasks[0]}"
            )
        return {"task": task}

    beams = DEFAULT_BEAMS if asked.beams is None else asked.beams
    if beams < max(KS):
        raise UsageError(
            f"--beams {beams} cannot fill lists of {max(KS)}: use at least {max(KS)} (default {DEFAULT_BEAMS})"
        )
    return {"task": asked.task or DEFAULT_TASK, "profile": asked.profile or DEFAULT_PROFILE, "beams": beams}


def _configs(asked: RunSpec, classes: Mapping[str, Any], settled: Mapping[str, Any]) -> dict[str, Any]:
    """Each part's options: those asked for override a backbone's profile, which overrides the defaults."""
    configs = {}
    for part, cls in classes.items():
        options = dict(asked.options.get(part, {}))
        if part == "backbone":
            options = {**_profile(cls, str(asked.backbone), settled), **options}
        configs[part] = make_config(cls.Config, options, part)
    return configs


def _changed(part: str, cls: Any, config: Any, asked: RunSpec, settled: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a part that are neither their defaults nor what the profile says."""
    own = config_dict(config)
    given = {
        name for name, option in inspect.signature(cls.Config).parameters.items() if option.default is option.empty
    }
    profile = _profile(cls, str(asked.backbone), settled) if part == "backbone" else {}

    usual = config_dict(make_config(cls.Config, {**profile, **{name: own[name] for name in given}}, part))
    return {key: value for key, value in own.items() if key in given or usual[key] != value}


def _profile(cls: Any, backbone: str, settled: Mapping[str, Any]) -> Mapping[str, Any]:
    profile = settled["profile"]
    known = [name for name in cls.profiles if "/" not in name]
    if profile not in known:
        hint = did_you_mean(profile, known)
        raise UsageError(
            f"backbone {backbone!r} has no profile {profile!r}.{hint} Profiles: {', '.join(known) or 'none'}."
        )
    return cls.profile(profile, settled["task"])  # type: ignore[no-any-return]


def _built(info: ComponentInfo, cls: Any, config: Any) -> Part[Any]:
    with held_to(info, "construction"):
        return Part(info, cls(config))


def searched_normalisation(backbone: Backbone, decoder: Decoder) -> str:
    """What the decoder's probabilities sum to 1 over: as the backbone was trained, unless its option says otherwise."""
    asked = getattr(decoder.config, "normalisation", "trained")
    return backbone.normalisation if asked == "trained" else str(asked)


def _check_normalisation(backbone: Part[Backbone], decoder: Part[Decoder]) -> None:
    """ConfigError if the decoder cannot search as it was asked to, or as the backbone is trained (P13)."""
    searched = searched_normalisation(backbone.component, decoder.component)
    if searched not in decoder.component.normalisations:
        can = ", ".join(sorted(decoder.component.normalisations))
        raise ConfigError(
            f"decoder {decoder.info.name!r} normalises over {can}, and this run over {searched}: use --decoder trie, or "
            f"--set backbone.normalisation={can}",
            part="decoder",
            key="normalisation",
        )


def _check_needs(dataset: str, parts: Mapping[str, Part[Any]], offers: frozenset[str]) -> None:
    """NeedsMissing if a component needs what the data set does not offer."""
    for name, part in parts.items():
        if missing := frozenset(part.component.needs) - offers:
            raise NeedsMissing(
                f"{name} {part.info.name!r} needs {', '.join(sorted(missing))}, which data set {dataset!r} "
                f"does not have: choose another {name}, or another data set",
                needs=missing,
            )
