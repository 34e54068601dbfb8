"""RPG's digits are independent: every search gives one ranking, and its probabilities are probabilities."""

import itertools

import numpy as np
import pytest
import torch
from genrec_parallel.exact import RPGExact
from genrec_parallel.levels import Levels, log_shares
from genrec_parallel.rpg import RPG, RPGConfig, Targets

from genrec_bench.api import (
    BackboneContext,
    ExactConfig,
    ExactDecoder,
    Examples,
    Index,
    Queries,
    Ragged,
    TrieDecoder,
    UsageError,
    add_suffix,
)

TINY = {"d_model": 16, "heads": 2, "d_ff": 8, "dropout": 0.0, "batch_size": 4, "epochs": 3, "learning_rate": 0.02}
GRID = list(itertools.product(range(3), range(4), range(2)))  # every code of three digits
COLLIDING = [*GRID[:10], GRID[0], GRID[4], GRID[4], *GRID[10:], GRID[-1]]  # 28 items, of which 7 share codes


def index_of(labels):
    unique, rate = add_suffix(np.array(labels, np.int32))
    return Index.from_labels(unique, collision_rate=rate)


def histories(n_items, seed=0):
    rng = np.random.default_rng(seed)
    return Ragged.of([rng.integers(n_items, size=size).tolist() for size in (2, 3, 7, 5, 12, 4)])


def examples_of(backbone, index, train, together=True):
    """As a run makes them: one source per user, or one per target."""
    template, users = backbone.template("sequential", index), np.arange(len(train), dtype=np.int32)
    codes = index.items.codes
    if together:
        shown = train.slice(train.offsets[:-1], train.offsets[1:] - 1)
        learned = train.slice(train.offsets[:-1] + 1, train.offsets[1:])
        lengths = (codes[shown.values] >= 0).sum(axis=1)
        visible = np.concatenate([np.cumsum(lengths[shown.rows == row]) for row in range(len(shown))])
        sources = template.render(Queries(users, shown))
        return Examples(sources, codes[learned.values], learned.offsets, index.n_tokens, index.items, train, visible)

    ends = np.flatnonzero(np.arange(len(train.values)) > train.offsets[:-1][train.rows])
    user = train.rows[ends]
    queries = Queries(user.astype(np.int32), train.slice(train.offsets[:-1][user], ends))
    offsets = np.arange(len(ends) + 1, dtype=np.int64)
    return Examples(template.render(queries), codes[train.values[ends]], offsets, index.n_tokens, index.items, train)


def trained(labels=COLLIDING, **options):
    index = index_of(labels)
    train = histories(len(labels))
    backbone = RPG(RPGConfig(**{**TINY, **options}))
    backbone.fit(examples_of(backbone, index, train), BackboneContext(seed=1))
    sources = backbone.template("sequential", index).render(Queries(np.arange(6, dtype=np.int32), train))
    return backbone, index, sources


def test_every_search_gives_the_same_ranking():
    backbone, index, sources = trained()
    exclude = Ragged.of([[0], [1, 2], [], [4, 11, 12], [27], list(range(20))])
    for beams in (5, len(COLLIDING)):
        sums = RPGExact().generate(backbone, sources, index, beams=beams, exclude=exclude)
        walked = ExactDecoder().generate(backbone, sources, index, beams=beams, exclude=exclude)
        np.testing.assert_array_equal(sums.items, walked.items)
        np.testing.assert_array_equal(sums.tokens, walked.tokens)
        np.testing.assert_allclose(sums.scores, walked.scores, atol=1e-5)
        np.testing.assert_allclose(sums.bound, walked.bound, atol=1e-5)
    beam = TrieDecoder().generate(backbone, sources, index, beams=len(COLLIDING), exclude=exclude)
    np.testing.assert_array_equal(sums.items, beam.items)
    np.testing.assert_allclose(sums.scores, beam.scores, atol=1e-5)
    assert not set(range(20)) & set(sums.items[5].tolist()) and (sums.items[5] >= 0).sum() == 8


def test_a_score_is_the_sum_of_its_digits_log_probabilities():
    backbone, index, sources = trained()
    lists = RPGExact().generate(backbone, sources, index, beams=len(COLLIDING))
    logp, places = backbone.digit_scores(sources), backbone.places
    for row, item in itertools.product(range(6), (1, 4, 12, 27)):
        digits = index.items.codes[item, :3]
        expected = sum(float(logp[row, places[level, token]]) for level, token in enumerate(digits.tolist()))
        expected -= np.log({1: 1, 4: 3, 12: 3, 27: 2}[item])  # items with its digits
        assert lists.scores[row][lists.items[row] == item] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("labels", [GRID, COLLIDING])
def test_codes_of_a_full_grid_sum_to_one(labels):
    backbone, index, sources = trained(labels)
    lists = RPGExact().generate(backbone, sources, index, beams=len(labels))
    np.testing.assert_allclose(np.exp(lists.scores.astype(np.float64)).sum(1), 1, rtol=1e-5)


def test_items_with_one_code_tie_and_are_listed_by_number():
    backbone, index, sources = trained()
    lists = RPGExact().generate(backbone, sources, index, beams=len(COLLIDING))
    for items, scores in zip(lists.items.tolist(), lists.scores, strict=True):
        at = [items.index(item) for item in (4, 11, 12)]
        assert at == list(range(at[0], at[0] + 3)) and len(set(scores[at].tolist())) == 1


def test_the_bound_is_the_best_score_left_out():
    backbone, index, sources = trained()
    full = RPGExact().generate(backbone, sources, index, beams=len(COLLIDING))
    few = RPGExact().generate(backbone, sources, index, beams=4)
    np.testing.assert_array_equal(few.bound, full.scores[:, 4])
    assert (full.bound == -np.inf).all()


def test_children_are_walked_as_by_exact():
    backbone, index, sources = trained(GRID[::3])
    options = ExactConfig(normalisation="children")
    own = RPGExact(options).generate(backbone, sources, index, beams=8)
    walked = ExactDecoder(options).generate(backbone, sources, index, beams=8)
    np.testing.assert_array_equal(own.items, walked.items)
    np.testing.assert_array_equal(own.scores, walked.scores)
    assert not np.allclose(own.scores, RPGExact().generate(backbone, sources, index, beams=8).scores)


def test_weights_of_another_index_are_refused():
    backbone, _, sources = trained()
    for other in (GRID, [code[:2] for code in GRID], [(a, b, c, 0) for a, b, c in GRID]):
        with pytest.raises(UsageError, match="trained for another index"):
            RPGExact().generate(backbone, sources, index_of(other), beams=3)


@pytest.mark.parametrize("labels", [GRID, COLLIDING])
def test_training_on_sequences_has_the_gradient_of_training_row_by_row(labels):
    index, train = index_of(labels), histories(len(labels))
    backbone = RPG(RPGConfig(**TINY))
    found = []
    for together in (True, False):
        examples = examples_of(backbone, index, train, together)
        backbone.begin(examples, seed=3)
        targets = Targets(backbone.net, examples, backbone.places, "cpu")
        loss, tokens = targets.loss(examples.sources, None, np.arange(len(examples)))
        loss.backward()
        found.append((loss.item(), tokens, [value.grad for value in backbone.net.parameters()]))

    (loss, tokens, grads), (plain_loss, plain_tokens, plain_grads) = found
    assert tokens == plain_tokens == 27 * 3 and loss == pytest.approx(plain_loss, rel=1e-5)
    for grad, plain in zip(grads, plain_grads, strict=True):
        torch.testing.assert_close(grad, plain, rtol=1e-4, atol=1e-5)


def test_the_loss_is_the_mean_of_the_digits_cross_entropies():
    index, train = index_of(COLLIDING), histories(len(COLLIDING))
    backbone = RPG(RPGConfig(**TINY))
    examples = examples_of(backbone, index, train)
    backbone.begin(examples)
    loss, tokens = Targets(backbone.net, examples, backbone.places, "cpu").loss(examples.sources, None, np.array([2]))

    template, total = backbone.template("sequential", index), 0.0
    for end in range(1, 7):
        history = Ragged.of([train[2][:end].tolist()])
        logp = backbone.digit_scores(template.render(Queries(np.zeros(1, np.int32), history)))[0]
        code = index.items.codes[train[2][end], :3].tolist()
        total -= sum(float(logp[backbone.places[level, token]]) for level, token in enumerate(code))
    assert tokens == 18 and loss.item() == pytest.approx(total, rel=1e-5)


def test_a_position_does_not_see_what_comes_later():
    backbone, _, _ = trained()
    rows = torch.randint(1, 9, (1, 9, 3), generator=torch.Generator().manual_seed(0))
    other = rows.clone()
    other[0, 6:] += 1
    clean, poisoned = backbone.net.encode(rows), backbone.net.encode(other)
    assert torch.equal(clean[:, :6], poisoned[:, :6]) and not torch.allclose(clean[:, 6:], poisoned[:, 6:])


def test_an_item_is_the_mean_of_its_tokens_whatever_their_number():
    backbone, _, _ = trained()
    table = backbone.net.embedding.weight
    short, long = torch.tensor([[[1, 2, 0]]]), torch.tensor([[[1, 2, 3]]])
    inputs = []
    backbone.net.blocks[0].register_forward_pre_hook(lambda _, given: inputs.append(given[0][0, 0]))
    for rows in (short, long):
        backbone.net.encode(rows)
    where = backbone.net.positions.weight[0]
    torch.testing.assert_close(inputs[0], table[1:3].mean(0) + where)
    torch.testing.assert_close(inputs[1], table[1:4].mean(0) + where)


def test_levels_that_every_code_has_are_digits():
    codes = np.array([[0, 3, -1], [1, 3, 5], [1, 3, 6], [2, 4, -1]], np.int32)
    levels = Levels.of(codes, 7)
    assert levels.sizes == (3, 2) and levels.tokens.tolist() == [0, 1, 2, 3, 4]
    np.testing.assert_allclose(log_shares(codes), [0, -np.log(2), -np.log(2), 0], rtol=1e-6)
    assert len(levels.edges) == 8 and len(Levels.of(codes[:, :2], 7).edges) == 0


def test_digits_beyond_the_codes_do_not_make_a_number_nan():
    backbone, index, sources = trained(GRID)
    users, state = len(sources), backbone.start(sources)
    for token in (-1, 0, 3, 7, 1, 1):
        tokens = torch.full((users, 2), token)
        logits, state = backbone.advance(state, tokens, torch.zeros_like(tokens))
        assert logits.shape == (users, 2, index.n_tokens) and torch.isfinite(logits).all()


def test_the_last_epoch_is_kept_unless_validation_is_asked_for():
    index, train = index_of(COLLIDING), histories(len(COLLIDING))
    for options, best, calls in (({}, 4, 1), ({"validate_every": 1}, 2, 4)):
        backbone = RPG(RPGConfig(**{**TINY, "epochs": 4, **options}))
        scores = iter([0.1, 0.5, 0.2, 0.3])
        given = []

        def validate(scores=scores, given=given):
            given.append(next(scores))
            return given[-1]

        report = backbone.fit(examples_of(backbone, index, train), BackboneContext(validate=validate))
        assert (report.epochs, report.best_epoch, len(given)) == (4, best, calls)
