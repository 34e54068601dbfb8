"""The checks notice what they are there for: each has a broken component that fails it, and sound ones fail none."""

import subprocess
import sys
from collections import Counter
from typing import ClassVar

import numpy as np
import pytest
from broken_components import BROKEN, Duplicates, NeedsFour, Walks
from broken_networks import Counting
from hypothesis import given, settings
from hypothesis import strategies as st

from genrec_bench.baselines.popularity import Popularity
from genrec_bench.core.codes import CodeTable
from genrec_bench.core.rankings import NO_HYPOTHESIS
from genrec_bench.decoders.trie import TrieDecoder
from genrec_bench.errors import ComponentFault, UsageError
from genrec_bench.indexers.digits import DigitsConfig, RandomIndexer, SequentialIndexer
from genrec_bench.testing import (
    CHECKS,
    IndexerConformance,
    Subject,
    planted,
    run_checks,
    strategies,
)

SOUND = {
    "indexer": SequentialIndexer,
    "backbone": Counting,
    "decoder": TrieDecoder,
    "dataset": Walks,
    "baseline": Popularity,
}
EVERY_BROKEN = [
    pytest.param(kind, check, cls, id=f"{kind}-{check}-{cls.__name__}")
    for kind, checks in BROKEN.items()
    for check, classes in checks.items()
    for cls in classes
]


@pytest.mark.parametrize(("kind", "check", "cls"), EVERY_BROKEN)
def test_a_broken_component_is_caught_by_its_check(kind, check, cls):
    with pytest.raises(ComponentFault) as caught:
        CHECKS[kind][check](Subject.of(kind, cls))
    fault = caught.value
    assert (fault.kind, fault.name, fault.check) == (kind, cls.__name__, check)
    assert str(fault).startswith(f"{kind} {cls.__name__!r} fails {check}: ")
    assert str(fault).count(". ") >= 1  # what was seen, and what to do


@pytest.mark.parametrize("kind", SOUND)
def test_a_sound_component_fails_no_check(kind):
    failed = {
        result.check: result.said for result in run_checks(Subject.of(kind, SOUND[kind])) if result.outcome == "failed"
    }
    assert not failed


@pytest.mark.parametrize("kind", CHECKS)
def test_every_check_has_a_component_that_fails_it(kind):
    assert set(BROKEN[kind]) == set(CHECKS[kind])


@pytest.mark.parametrize("kind", CHECKS)
def test_every_check_says_what_is_promised_in_one_sentence(kind):
    for name, check in CHECKS[kind].items():
        assert check.__doc__, name
        first = check.__doc__.strip().split("\n\n")[0]
        assert first.endswith("."), name


def test_after_a_failed_essential_check_the_rest_is_left_out():
    outcomes = Counter(result.outcome for result in run_checks(Subject.of("indexer", Duplicates)))
    assert outcomes == {"ok": 1, "failed": 1, "skipped": len(CHECKS["indexer"]) - 2}


def test_an_error_of_the_component_is_chained():
    with pytest.raises(ComponentFault, match="every_item_has_a_code_of_its_own: it raised CodeClash") as caught:
        CHECKS["indexer"]["every_item_has_a_code_of_its_own"](Subject.of("indexer", Duplicates))
    assert type(caught.value.__cause__).__name__ == "CodeClash"


def test_a_registered_class_is_named_as_users_know_it():
    subject = Subject.of("indexer", RandomIndexer)
    assert (subject.name, subject.distribution) == ("random", "genrec-bench")
    assert str(subject.fault("x", "seen", "Do.")) == "indexer 'random' (genrec-bench) fails x: seen. Do."


def test_a_factory_brings_its_own_options():
    subject = Subject.of("indexer", lambda: SequentialIndexer(DigitsConfig(base=3)))
    assert subject.make().config.base == 3
    with pytest.raises(UsageError, match="factory"):
        Subject.of("indexer", lambda: None, {"base": 3})


def test_the_process_keeps_its_global_random_numbers():
    np.random.seed(5)  # noqa: NPY002
    expected = np.random.random()  # noqa: NPY002
    np.random.seed(5)  # noqa: NPY002
    list(run_checks(Subject.of("indexer", RandomIndexer)))
    assert np.random.random() == expected  # noqa: NPY002


class Failing(IndexerConformance):
    component = NeedsFour
    expected_failures: ClassVar = {
        "tiny_data_is_indexed": "fixed in the next version",
        "tokens_lie_in_the_alphabet": "not so",
    }


def test_a_check_that_is_expected_to_fail_is_an_xfail_with_its_reason():
    with pytest.raises(pytest.xfail.Exception, match="fixed in the next version"):
        Failing().test_tiny_data_is_indexed()


def test_a_check_that_is_expected_to_fail_has_to_fail():
    with pytest.raises(pytest.fail.Exception, match="drop it from expected_failures"):
        Failing().test_tokens_lie_in_the_alphabet()


def test_other_checks_of_that_class_are_plain_tests():
    Failing().test_every_item_has_a_code_of_its_own()
    Failing().test_expected_failures_name_checks()


def test_an_expected_failure_that_is_no_check_is_noticed():
    class Misspelt(IndexerConformance):
        component = NeedsFour
        expected_failures: ClassVar = {"tiny_data": "a typing error"}

    with pytest.raises(AssertionError, match="tiny_data"):
        Misspelt().test_expected_failures_name_checks()


def test_a_class_without_a_component_says_so():
    class Nothing(IndexerConformance):
        pass

    with pytest.raises(TypeError, match="must set `component`"):
        Nothing().test_tiny_data_is_indexed()


def test_the_kit_needs_neither_pytest_nor_hypothesis():
    code = (
        "import sys; sys.modules['pytest'] = sys.modules['hypothesis'] = None\n"
        "import genrec_bench.testing as kit\n"
        "assert 'torch' not in sys.modules\n"
        "for name in kit.__all__: getattr(kit, name)\n"
        "results = list(kit.run_checks(kit.Subject.of('indexer', 'random')))\n"
        "assert {result.outcome for result in results} == {'ok'}"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_planted_data_has_a_cold_item_and_held_out_items_behind_the_view():
    data = planted()
    train = data.train
    assert len(np.unique(train.sequences.values)) < train.n_items == 49
    assert len(train.sequences.values.base) == len(train.sequences.values) + 2 * train.n_users
    other = data.other_held_out()
    assert np.array_equal(other.train.sequences.values, train.sequences.values)
    assert (other.split.test.target != data.split.test.target).all()
    assert (other.split.validation.target != data.split.validation.target).all()


def test_the_sound_backbone_does_find_the_planted_pattern():
    CHECKS["backbone"]["it_learns_a_planted_pattern"](Subject.of("backbone", Counting))


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_the_strategies_draw_what_the_types_accept(data):
    codes = data.draw(strategies.prefix_free())
    CodeTable(strategies.code_table(codes).codes)
    index = data.draw(strategies.indexes(users=3))
    assert len(index.users) == 3
    view = data.draw(strategies.train_views())
    assert view.n_items == len(view.item_titles) == len(view.item_features)
    sources = data.draw(strategies.token_sources())
    assert len(sources.tokens) == len(sources.words) == sources.offsets[-1]
    found = data.draw(strategies.generations(codes))
    assert (found.scores[:, 1:] <= found.scores[:, :-1]).all()
    assert (np.isneginf(found.scores) == (found.items == NO_HYPOTHESIS)).all()
