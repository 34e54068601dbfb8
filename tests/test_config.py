"""Options: what a command line writes becomes typed values, and what cannot be meant is one line that names the option."""

import dataclasses
from dataclasses import FrozenInstanceError
from typing import Annotated, Any, Literal, Self

import pytest
from pydantic import Field, PositiveFloat, PositiveInt, model_validator
from pydantic.dataclasses import dataclass

from genrec_bench.errors import ConfigError
from genrec_bench.host.config import config_dict, describe_config, make_config
from genrec_bench.host.ranges import Share, TwoOrMore


@dataclass(frozen=True)
class Sizes:
    """Options of many types."""

    layers: PositiveInt = 4  # of the encoder
    rate: PositiveFloat = 1e-3
    dropout: Share = 0.1
    base: TwoOrMore = 64
    verbose: bool = False  # say more; 'quoted' # twice
    widths: tuple[PositiveInt, ...] = (8, 4)
    names: tuple[str, ...] = ()
    rating: float | None = None
    limit: int | str = 3
    method: Literal["dense", "sparse"] = "dense"  # how
    bits: Literal[8, 16] | None = 8
    history: Annotated[int, Field(ge=1, le=512)] = 20  # items shown
    note: str = ""


@dataclass(frozen=True)
class Network(Sizes):
    """Options that depend on each other."""

    layers: PositiveInt = 6
    heads: PositiveInt = 8  # of attention

    @model_validator(mode="after")
    def _heads_divide_the_base(self) -> Self:
        if self.base % self.heads:
            raise ValueError(f"base {self.base} is not a multiple of heads {self.heads}")
        return self


@dataclasses.dataclass(frozen=True)
class Plain:
    """A dataclass of the standard library."""

    path: str
    k: PositiveInt = 3  # how many
    weights: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        if self.k == 7:
            raise ValueError("k is not 7")


@pytest.mark.parametrize(
    ("option", "text", "value"),
    [
        ("layers", "3", 3),
        ("layers", 3.0, 3),
        ("rate", "1e-2", 0.01),
        ("rate", 1, 1.0),
        *[("verbose", text, True) for text in ("true", "yes", "on", "1", "True")],
        *[("verbose", text, False) for text in ("false", "no", "off", "0")],
        ("widths", "16,8,", (16, 8)),
        ("widths", [16, 8], (16, 8)),
        ("names", "a,b", ("a", "b")),
        ("names", "", ()),
        ("rating", "none", None),
        ("rating", "", None),
        ("rating", None, None),
        ("rating", "4", 4.0),
        ("limit", "all", "all"),
        ("method", "sparse", "sparse"),
        ("bits", "16", 16),
        ("bits", "none", None),
        ("note", "none", "none"),
    ],
)
def test_text_becomes_the_value_that_it_means(option, text, value):
    read = getattr(make_config(Sizes, {option: text}, "backbone"), option)
    assert read == value and type(read) is type(value)


@pytest.mark.parametrize(
    ("option", "value", "reason"),
    [
        *[("layers", value, "expected a whole number") for value in ("x", 2.5, "inf", None, True)],
        *[("rate", value, "expected a finite number") for value in ("x", "inf", "nan", float("inf"), True, None)],
        *[("verbose", value, "expected true or false") for value in ("perhaps", 2)],
        *[("note", value, "expected a text") for value in (3, True)],
        ("widths", "8,x", "expected a whole number"),
        ("widths", [8, True], "expected a whole number"),
        ("widths", "8,0", "must be above 0"),
        ("rating", "high", "expected a finite number"),
        ("limit", [1], "expected a whole number or expected a text"),
        ("method", "spars", "expected one of dense, sparse. Did you mean 'sparse'?"),
        ("method", "other", "expected one of dense, sparse"),
        ("bits", "9", "expected one of 8, 16"),
        ("layers", "0", "must be above 0"),
        ("dropout", "-0.1", "must be at least 0"),
        ("dropout", "1", "must be below 1"),
        ("base", 1, "must be at least 2"),
        ("history", 513, "must be at most 512"),
    ],
)
def test_what_an_option_cannot_be_is_one_line_that_says_what_it_can(option, value, reason):
    with pytest.raises(ConfigError) as caught:
        make_config(Sizes, {option: value}, "backbone")
    assert str(caught.value) == f"backbone.{option} = {value!r}: {reason}"
    assert (caught.value.part, caught.value.key) == ("backbone", option)


def test_an_unknown_option_is_told_the_closest_and_all_there_are():
    with pytest.raises(
        ConfigError, match=r"backbone has no option 'layer'\. Did you mean 'layers'\? .*: base, .*widths\.$"
    ):
        make_config(Sizes, {"layer": 3}, "backbone")


def test_an_option_without_a_default_must_be_given():
    with pytest.raises(ConfigError, match=r"^dataset\.path must be given: --set dataset\.path=\.\.\.$"):
        make_config(Plain, {}, "dataset")


def test_options_that_do_not_go_together_are_refused_wherever_a_config_is_made():
    with pytest.raises(ConfigError, match=r"^backbone: base 64 is not a multiple of heads 3$"):
        make_config(Network, {"heads": "3"}, "backbone")
    with pytest.raises(ValueError, match="not a multiple"):
        Network(heads=3)
    with pytest.raises(ValueError, match="greater than 0"):
        Network(layers=0)


def test_a_dataclass_of_the_standard_library_is_read_alike():
    assert make_config(Plain, {"path": "x", "k": "4", "weights": "1,2"}, "dataset") == Plain("x", 4, (1.0, 2.0))
    with pytest.raises(ConfigError, match=r"^dataset\.k = '0': must be above 0$"):
        make_config(Plain, {"path": "x", "k": "0"}, "dataset")
    with pytest.raises(ConfigError, match=r"^dataset: k is not 7$"):
        make_config(Plain, {"path": "x", "k": "7"}, "dataset")


def test_a_type_that_no_option_can_have_is_refused():
    @dataclasses.dataclass(frozen=True)
    class Config:
        of: memoryview | None = None

    with pytest.raises(ConfigError, match=r"^indexer\.of = 'x': no option can be of the type memoryview \| none$"):
        make_config(Config, {"of": "x"}, "indexer")


def test_a_config_is_frozen():
    config = make_config(Sizes, {}, "backbone")
    with pytest.raises(FrozenInstanceError):
        config.layers = 3
    assert hash(config) == hash(Sizes())


def test_every_option_is_part_of_a_resolved_spec_at_its_default_too():
    values: dict[str, Any] = config_dict(make_config(Network, {"rating": "4"}, "backbone"))
    assert list(values) == [field.name for field in dataclasses.fields(Network)]
    assert values["widths"] == [8, 4] and values["rating"] == 4.0 and values["verbose"] is False
    assert make_config(Network, values, "backbone") == Network(rating=4.0)


def test_the_help_of_an_option_is_the_comment_behind_it():
    options = {option["name"]: option for option in describe_config(Network)}
    assert options["heads"] == {"name": "heads", "type": "int", "default": "8", "meaning": "of attention"}
    assert options["layers"]["default"] == "6" and options["layers"]["meaning"] == ""
    assert options["verbose"]["meaning"] == "say more; 'quoted' # twice"
    assert options["bits"]["type"] == "8 | 16 | none"
    assert options["widths"]["type"] == "tuple[int, ...]"
    assert [option["default"] for option in describe_config(Plain)] == ["must be given", "3", "(1.0,)"]


def test_a_default_inside_field_is_a_default():
    @dataclass(frozen=True)
    class Config:
        k: int = Field(3, ge=1)  # how many

    assert describe_config(Config) == [{"name": "k", "type": "int", "default": "3", "meaning": "how many"}]
    with pytest.raises(ConfigError, match=r"^decoder: k must be at least 1$"):
        make_config(Config, {"k": 0}, "decoder")
