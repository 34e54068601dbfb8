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


def test_a_spec_file_may_begin_with_a_byte_order_mark_and_is_utf_8_under_any_locale(tmp_path, monkeypatch):
    file = tmp_path / "spec.toml"
    file.write_bytes('\ufeffdataset = "bücher"\nbaseline = "popularity"\n'.encode())
    monkeypatch.setattr("locale.getpreferredencoding", lambda *_: "ascii")
    assert RunSpec.from_toml(file).dataset == "bücher"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"seed = {'9' * 5000}", "not readable TOML"),
        (f"seed = 0x{'f' * 5000}", "too large"),
        (f"seed = {2**63}", "too large"),
        (f"set.x.y = {'[' * 20000}", "not readable TOML"),
        (b"dataset = '\\xff'".decode("unicode_escape").encode("latin-1"), "not readable TOML"),
    ],
)
def test_a_spec_file_with_what_no_file_should_hold_is_one_line(tmp_path, text, said):
    file = tmp_path / "spec.toml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UsageError, match=said) as caught:
        RunSpec.from_toml(file)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500


@pytest.mark.parametrize("options", [{"options": {"backbone": 3}}, {"options": {"backbone": {3: 1}}}, {"set": {3: 1}}])
def test_options_that_are_no_table_of_names_are_refused(options):
    with pytest.raises(UsageError, match="spec: "):
        RunSpec(**SYSTEM, **options)


@pytest.mark.parametrize("seed", ["3", True, 1.5])
def test_a_spec_read_from_data_is_checked_alike(seed):
    with pytest.raises(UsageError, match="spec: seed"):
        RunSpec.from_dict({**SYSTEM, "seed": seed})
