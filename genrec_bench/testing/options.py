"""The check of all kinds: options are a frozen dataclass whose defaults run."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from genrec_bench.errors import ConfigError
from genrec_bench.host.config import config_dict, make_config
from genrec_bench.host.registry import KINDS
from genrec_bench.protocol.constants import EXTERNAL_IDS
from genrec_bench.testing.kit import (
    CHECKS,
    Breach,
    Subject,
    check,
    expect,
)
from genrec_bench.tuning.space import NOT_UNDERSTOOD, described

KNOWN_NEEDS = {"item_titles", "item_features", "times", "ratings", *EXTERNAL_IDS}


def options_are_frozen_and_have_defaults(subject: Subject) -> None:
    """Options are a frozen dataclass of plain values whose defaults run; `needs` names what data sets can offer,
    `search_space` options.

    An option without a default is fine if leaving it out is a ConfigError that names it.
    """
    component = subject.make()
    config: Any = type(component).Config
    expect(
        isinstance(config, type) and dataclasses.is_dataclass(config) and config.__dataclass_params__.frozen,  # type: ignore[attr-defined]
        f"Config is {config!r}",
        "Make it a dataclass with frozen=True: its values are what a run's identity is computed from.",
    )
    expect(
        isinstance(component.config, config),
        f"an instance's config is {component.config!r}, not a {config.__name__}",
        "Pass `config` on: super().__init__(config).",
    )

    try:
        json.dumps(config_dict(component.config), allow_nan=False)
        hash(component.config)
    except (TypeError, ValueError) as error:
        raise Breach(f"its options are not plain: {error}", "Use numbers, texts, booleans, None and tuples.") from error

    unknown = set(type(component).needs) - KNOWN_NEEDS
    expect(
        not unknown,
        f"it needs {', '.join(sorted(map(str, unknown)))}, which no data set can offer",
        f"A data set can offer {', '.join(sorted(KNOWN_NEEDS))}.",
    )

    spaces = described(type(component)).items()
    wrong = [f"{option}={text}" for option, text in spaces if text.endswith(NOT_UNDERSTOOD)]
    expect(
        not wrong,
        f"its search_space has {', '.join(wrong)}",
        'Give options of Config a range (low, high) or (low, high, "log"), or a list of two choices or more.',
    )

    remedy = "Choose defaults that pass its own checks."
    try:
        defaults = make_config(config, {}, subject.kind)
    except ConfigError as error:
        expect(error.facts.get("key"), f"its defaults do not run: {error}", remedy)
        return

    # A dataclass does not validate its defaults; as the options of a resolved spec they are.
    try:
        type(component)(make_config(config, config_dict(defaults), subject.kind))
    except ConfigError as error:
        raise Breach(f"its defaults do not run: {error}", remedy) from error


for kind in KINDS:
    check(kind, essential=True)(options_are_frozen_and_have_defaults)
    name, function = CHECKS[kind].popitem()
    CHECKS[kind] = {name: function, **CHECKS[kind]}  # first, whichever module was imported before
