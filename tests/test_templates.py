"""Templates: codes and words become source tokens in the right order, with the right whole-word numbers."""

from itertools import chain

import numpy as np
import pytest
from fakes import index_of
from hypothesis import given
from hypothesis import strategies as st

from genrec_bench.backbones import lightlm, p5, t5_small
from genrec_bench.backbones.templates import (
    PromptTemplate,
    SampledPrompts,
    WordList,
    join,
    stack,
)
from genrec_bench.core.arrays import Ragged
from genrec_bench.core.codes import CodeTable, Index
from genrec_bench.core.sequences import Queries, Sources
from genrec_bench.errors import NeedsMissing


def index():
    """Items 0, 1, 2 are (0 1), (2), (0 3); users 0 and 1 are (4), (5 4)."""
    items = index_of([[0, 1], [2], [0, 3]])
    return Index(items.items, CodeTable(np.array([[4, -1], [5, 4]], np.int32)), 6)


def queries(*histories):
    return Queries(np.arange(len(histories), dtype=np.int32) % 2, Ragged.of([list(history) for history in histories]))


def rows(sources):
    ends = zip(sources.offsets[:-1], sources.offsets[1:], strict=True)
    return [list(zip(*(column[a:b].tolist() for column in (sources.tokens, sources.levels, sources.words)), strict=True))
            for a, b in ends]  # fmt: skip


def test_a_prompt_puts_codes_where_its_braces_stand():
    words = WordList(["after {history} for {user} !"])  # ! is 0, after 1, for 2, anything else 3
    template = PromptTemplate(index(), 5, words, "after {history} for {user} ?")
    first, second = rows(template.render(queries([0, 1], [2])))
    assert [token for token, *_ in first] == [6 + 1, 0, 1, 2, 6 + 2, 4, 6 + 3]
    assert [level for _, level, _ in first] == [-1, 0, 1, 0, -1, 0, -1]
    assert [word for *_, word in first] == [6, 2, 2, 1, 7, 8, 9]  # items count back from the latest, words from 5 on
    assert [token for token, *_ in second] == [6 + 1, 0, 3, 6 + 2, 5, 4, 6 + 3]


def test_a_prompt_shows_the_last_items_only():
    template = PromptTemplate(index(), 2, WordList([]), "{history}")
    assert [token for token, *_ in rows(template.render(queries([0, 0, 0, 1, 2])))[0]] == [2, 0, 3]


def test_a_prompt_that_names_the_user_needs_user_codes():
    with pytest.raises(NeedsMissing, match="this index has none"):
        PromptTemplate(index_of([[0]]), 2, WordList([]), "for {user}")


@given(st.lists(st.lists(st.lists(st.integers(0, 9), max_size=4), min_size=3, max_size=3), min_size=1, max_size=4))
def test_joined_sources_stand_side_by_side_and_stacked_ones_below_each_other(parts):
    made = [Sources(part.values, part.values + 10, part.values + 20, part.offsets) for part in map(Ragged.of, parts)]
    assert rows(join(made)) == [list(chain(*each)) for each in zip(*map(rows, made), strict=True)]
    assert rows(stack(made)) == list(chain(*map(rows, made)))


def test_training_draws_its_prompts_and_evaluation_does_not():
    words = WordList(["a {user}", "b {user}", "c {user}"])
    template = SampledPrompts(index(), 2, words, "c {user}", ("a {user}", "b {user}"))
    many = queries(*[[0]] * 200)
    drawn = [
        [row[0][0] - 6 for row in rows(template.training(many, np.random.default_rng(seed)))] for seed in (0, 0, 1)
    ]
    assert drawn[0] == drawn[1] != drawn[2]
    assert set(drawn[0]) == {0, 1}
    assert [row[1][0] for row in rows(template.training(many, np.random.default_rng(0)))] == [4, 5] * 100
    assert {row[0][0] - 6 for row in rows(template.render(many))} == {2}


@pytest.mark.parametrize("task", ["direct", "sequential"])
def test_p5_is_evaluated_unseen_on_words_that_it_has_seen(task):
    assert p5.UNSEEN[task] not in p5.SEEN[task]
    known = WordList([*p5.SEEN["direct"], *p5.SEEN["sequential"]]).numbers
    words = [word for word in p5.UNSEEN[task].split() if not word.startswith("{")]
    assert [word for word in words if word not in known] == []


@pytest.mark.parametrize(
    "prompts",
    [t5_small.PROMPTS, lightlm.PROMPTS, p5.UNSEEN, *({task: p5.SEEN[task][n] for task in p5.SEEN} for n in range(5))],
)
def test_every_prompt_shows_what_its_task_may_show(prompts):
    assert "{history}" not in prompts["direct"] and "{user}" in prompts["direct"]
    assert "{history}" in prompts["sequential"]
