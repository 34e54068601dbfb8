"""What may be asked: a spec that could not be run, or written to a record, is refused where it is made."""

import pytest

from genrec_bench import RunSpec
from genrec_bench.errors import UsageError

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
