"""What may be asked: a spec that could not be run, or written to a record, is refused where it is made."""

from dataclasses import dataclass

import pytest

from genrec_bench import RunSpec
from genrec_bench.errors import UsageError
from genrec_bench.host.config import (
    config_dict,
    describe_config,
    later,
    make_config,
)

SYSTEM = {"indexer": "random", "backbone": "lightlm"}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *[("seed", value) for value in ("3", 1.5, True, None)],
        *[("beams", value) for value in ("50", 50.5, True)],
        ("dataset", 100),
        ("dataset", None),
        ("decoder", ["trie"]),
        ("profile", 1),
        ("protocol", None),
        ("options", [("backbone", {})]),
        ("set", "backbone.epochs=3"),
    ],
)
def test_a_value_of_a_wrong_type_is_one_line_that_names_it(key, value):
    with pytest.raises(UsageError, match=f"spec: {key} = .*: expected ") as caught:
        RunSpec(**{**SYSTEM, key: value})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("options", [{"options": {"backbone": 3}}, {"options": {"backbone": {3: 1}}}, {"set": {3: 1}}])
def test_options_that_are_no_table_of_names_are_refused(options):
    with pytest.raises(UsageError, match="spec: "):
        RunSpec(**SYSTEM, **options)


@pytest.mark.parametrize("seed", ["3", True, 1.5])
def test_a_spec_read_from_data_is_checked_alike(seed):
    with pytest.raises(UsageError, match="spec: seed"):
        RunSpec.from_dict({**SYSTEM, "seed": seed})


def test_an_option_that_came_later_is_no_part_of_a_spec_until_it_is_set():
    @dataclass(frozen=True)
    class Config:
        size: int = 4
        escalate: bool = later(False)  # search again

    assert config_dict(make_config(Config, {}, "decoder")) == {"size": 4}
    assert config_dict(make_config(Config, {"escalate": "false"}, "decoder")) == {"size": 4}
    assert config_dict(make_config(Config, {"escalate": "true"}, "decoder")) == {"size": 4, "escalate": True}
    assert [option["default"] for option in describe_config(Config)] == ["4", "False"]
