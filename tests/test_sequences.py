"""One pass per user: training on sequences equals training row by row, and probabilities over children are probabilities."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from genrec_bench.backbones.batches import batch_loss, longest_word, pad_for, pad_words, visible_words
from genrec_bench.backbones.candidates import row_logits
from genrec_bench.backbones.depth import Depth, DepthConfig
from genrec_bench.backbones.encoder_decoder import start_vectors
from genrec_bench.backbones.lightlm import LightLM, LightLMConfig
from genrec_bench.backbones.target_trees import build_trees
from genrec_bench.core.arrays import Ragged
from genrec_bench.core.code_trees import CodeTree
from genrec_bench.core.codes import CodeTable, Index
from genrec_bench.core.sequences import Queries
from genrec_bench.decoders.exact import ExactDecoder
from genrec_bench.decoders.trie import TrieConfig, TrieDecoder
from genrec_bench.errors import UsageError
from genrec_bench.host.contracts import BackboneContext, Candidates
from genrec_bench.runs.decoding import Generator
from genrec_bench.runs.examples import make_examples, windows_of

ITEMS = 23
TINY = {"d_model": 16, "heads": 2, "d_ff": 8, "dropout": 0.0, "history": 50}
CAUSAL = {"encoder": "causal", "word_embedding": False, "trains_on": "sequences"}
BACKBONES = {
    "depth": lambda **more: Depth(DepthConfig(**TINY, **more)),
    "lightlm, a position per item": lambda **more: LightLM(
        LightLMConfig(**{**TINY, "layers": 2, **CAUSAL, "history_tokens": "item", **more})
    ),
    "lightlm, a position per token": lambda **more: LightLM(LightLMConfig(**{**TINY, "layers": 2, **CAUSAL, **more})),
}


def index_of(scope="path"):
    """23 items in a tree whose codes have one, two and three tokens."""
    labels = np.full((ITEMS, 3), -1, np.int32)
    labels[:, 0] = np.minimum(np.arange(ITEMS) // 5, 4)
    labels[:20, 1] = np.arange(20) % 5
    labels[20:, 0] += np.arange(3)
    deep = np.array([1, 2, 7])
    labels[deep, 1], labels[deep, 2] = 9, np.arange(3)
    return Index.from_labels(labels, scope=scope)


def sequences(rng, users=6):
    return Ragged.of([rng.integers(ITEMS, size=size).tolist() for size in [1, 2, 3, 7, 5, 12][:users]])


def examples_of(backbone, index, train):
    generator = Generator(backbone, backbone.template("sequential", index), index, SimpleNamespace())
    return make_examples(train, "sequential", generator, None)


def gradients(backbone, examples, normalisation):
    """The summed loss of all examples, the number of target tokens, and the gradient of every parameter."""
    if backbone.net.shape.word_width:
        examples = visible_words(examples)
    trees = build_trees(examples.targets, examples.target_offsets, examples.visible)
    if normalisation == "children":
        trees = trees.placed_in(CodeTree.build(examples.catalogue))
    backbone.net.zero_grad()
    loss, tokens = batch_loss(backbone.net, examples.sources, trees, np.arange(len(examples)), "cpu")
    loss.backward()
    return (
        loss.item(),
        tokens,
        {name: p.grad.clone() for name, p in backbone.net.named_parameters() if p.grad is not None},
    )


@pytest.mark.parametrize("normalisation", ["alphabet", "children"])
@pytest.mark.parametrize("scope", ["level", "path"])
@pytest.mark.parametrize("name", BACKBONES)
def test_training_on_sequences_has_the_gradient_of_training_row_by_row(name, scope, normalisation):
    index, train = index_of(scope), sequences(np.random.default_rng(0))
    backbone = BACKBONES[name](normalisation=normalisation)
    width = 3 if backbone.config.history_tokens == "item" else 0
    backbone.begin(index.n_tokens, word_width=width)
    together = examples_of(backbone, index, train)
    assert together.visible is not None and len(together) == 5

    backbone.trains_on = "rows"
    apart = examples_of(backbone, index, train)
    assert apart.visible is None and len(apart) == len(together.targets) == 24

    loss, tokens, grads = gradients(backbone, together, normalisation)
    plain_loss, plain_tokens, plain_grads = gradients(backbone, apart, normalisation)
    assert tokens == plain_tokens and loss == pytest.approx(plain_loss, rel=1e-5)
    assert grads.keys() == plain_grads.keys()
    for key, grad in grads.items():
        torch.testing.assert_close(grad, plain_grads[key], rtol=1e-4, atol=1e-5, msg=key)


@pytest.mark.parametrize("name", BACKBONES)
def test_a_causal_encoder_does_not_see_what_comes_later(name):
    index, backbone = index_of(), BACKBONES[name]()
    pooled = backbone.config.history_tokens == "item"
    backbone.begin(index.n_tokens, word_width=3 if pooled else 0)
    template = backbone.template("sequential", index)
    history = np.random.default_rng(1).integers(ITEMS, size=9)
    poisoned = np.where(np.arange(9) < 6, history, (history + 1) % ITEMS)

    clean, other = (
        backbone.net.eval().encode(*pad_for(backbone.net, template.render(query_of(items)), "cpu"))
        for items in (history, poisoned)
    )
    upto = 6 if pooled else int((index.items.codes[history[:6]] >= 0).sum())
    assert torch.equal(clean[:, :upto], other[:, :upto])
    assert not torch.allclose(clean[:, -1], other[:, -1])


def query_of(items):
    return Queries(np.zeros(1, np.int32), Ragged.of([items.tolist()]))


def trained(name="depth", scope="path", **more):
    index, train = index_of(scope), sequences(np.random.default_rng(2))
    backbone = BACKBONES[name](epochs=2, batch_size=4, **more)
    examples = examples_of(backbone, index, train)
    backbone.fit(examples, BackboneContext(seed=1))
    queries = Queries(np.arange(6, dtype=np.int32), train)
    return backbone, index, backbone.template("sequential", index).render(queries)


@pytest.mark.parametrize("scope", ["level", "path"])
@pytest.mark.parametrize("name", BACKBONES)
def test_codes_normalised_over_children_sum_to_one_over_the_catalogue(name, scope):
    backbone, index, sources = trained(name, scope, normalisation="children")
    for decoder in (ExactDecoder(), TrieDecoder()):
        lists = decoder.generate(backbone, sources, index, beams=ITEMS)
        assert sorted(lists.items[0].tolist()) == list(range(ITEMS))
        np.testing.assert_allclose(np.exp(lists.scores.astype(np.float64)).sum(1), 1, rtol=1e-5)


@pytest.mark.parametrize("name", BACKBONES)
def test_over_the_alphabet_codes_sum_to_less(name):
    backbone, index, sources = trained(name, normalisation="alphabet")
    lists = ExactDecoder().generate(backbone, sources, index, beams=ITEMS)
    assert (np.exp(lists.scores.astype(np.float64)).sum(1) < 0.999).all()


@pytest.mark.parametrize("normalisation", ["alphabet", "children"])
@pytest.mark.parametrize("name", BACKBONES)
def test_a_wide_beam_is_the_exact_ranking(name, normalisation):
    backbone, index, sources = trained(name, normalisation=normalisation)
    exclude = Ragged.of([[0], [1, 2], [], [3], [4], [22]])
    full = ExactDecoder().generate(backbone, sources, index, beams=ITEMS, exclude=exclude)
    beam = TrieDecoder().generate(backbone, sources, index, beams=ITEMS, exclude=exclude)
    np.testing.assert_array_equal(full.items, beam.items)
    np.testing.assert_allclose(full.scores, beam.scores, atol=1e-4)


def test_a_search_may_be_told_to_normalise_in_the_other_way():
    backbone, index, sources = trained()
    other = TrieDecoder(TrieConfig(normalisation="alphabet"))
    own = TrieDecoder().generate(backbone, sources, index, beams=4)
    assert not np.allclose(own.scores, other.generate(backbone, sources, index, beams=4).scores)


def test_weights_of_the_other_normalisation_are_refused(tmp_path):
    backbone, _, _ = trained()
    backbone.save(tmp_path)
    with pytest.raises(ValueError, match="trained with normalisation=children, and the option says alphabet"):
        BACKBONES["depth"](normalisation="alphabet").load(tmp_path)


def test_sequences_need_an_encoder_that_does_not_see_the_targets():
    with pytest.raises(ValidationError, match="trains_on=sequences needs encoder=causal"):
        LightLMConfig(trains_on="sequences")
    with pytest.raises(ValidationError, match="word_embedding counts items back"):
        LightLMConfig(trains_on="sequences", encoder="causal")


def test_windows_make_every_item_after_the_first_a_target_once():
    train = Ragged.of([[0, 1, 2, 3, 4, 5, 6], [7], [], [8, 9]])
    users, windows = windows_of(train, 3)
    assert users.tolist() == [0, 0, 3]
    assert [row.tolist() for row in windows] == [[3, 4, 5, 6], [0, 1, 2, 3], [8, 9]]


def test_a_history_longer_than_the_window_is_cut_and_each_target_counts_once():
    index, train = index_of(), Ragged.of([list(range(23)) * 3])
    backbone = BACKBONES["depth"]()
    backbone.config = DepthConfig(**{**TINY, "history": 10})
    examples = examples_of(backbone, index, train)
    assert len(examples.targets) == 68 and len(examples) == 7
    assert int(np.diff(examples.target_offsets).max()) == 10


def test_a_user_with_one_event_trains_nothing_and_is_recommended_to():
    backbone, index, _ = trained()
    history = Ragged.of([[3], []])
    lists = TrieDecoder().generate(
        backbone,
        backbone.template("sequential", index).render(Queries(np.arange(2, dtype=np.int32), history)),
        index,
        beams=3,
    )
    assert np.isfinite(lists.scores).all()


def test_words_are_pooled_whatever_their_length():
    index = index_of()
    template = BACKBONES["depth"]().template("sequential", index)
    sources = template.render(Queries(np.arange(3, dtype=np.int32), Ragged.of([[1, 0], [], [20]])))
    rows, mask, words = pad_words(sources, "cpu", 3)
    codes = index.items.codes
    assert longest_word(sources) == 3
    assert rows[0].tolist() == [(codes[1] + 1).tolist(), (codes[0] + 1).tolist()]
    assert rows[2, 0].tolist() == (codes[20] + 1).tolist() and rows[2, 1].tolist() == [0, 0, 0]
    assert words.tolist() == [[2, 1], [0, 0], [1, 0]]
    assert (mask[0, 0, 0] == 0).all() and mask[2, 0, 0, 1] == -np.inf


def test_candidates_beyond_the_alphabet_are_another_index():
    backbone, index, sources = trained()
    hidden, _ = backbone.advance(backbone.start(sources), torch.full((6, 1), -1), torch.zeros(6, 1, dtype=torch.long))
    beyond = Candidates(torch.tensor([[index.n_tokens]]), torch.zeros(6, 1, dtype=torch.long))
    with pytest.raises(UsageError, match="trained for another index"):
        backbone.logits(hidden, beyond)


def test_a_code_tree_steps_and_lists_children():
    tree = CodeTree.build(CodeTable(np.array([[0, 3, -1], [0, 4, 1], [0, 4, 2], [1, -1, -1], [2, 0, 0]], np.int32)))
    nodes = tree.step(np.array([0, 0]), np.array([0, 2], np.int32))
    assert tree.children(nodes).tolist() == [[3, 4], [0, -1]] and tree.children(np.array([0])).tolist() == [[0, 1, 2]]
    with pytest.raises(ValueError, match="not in this tree"):
        tree.step(np.array([0]), np.array([3], np.int32))


@pytest.mark.parametrize("normalisation", ["alphabet", "children"])
@pytest.mark.parametrize("name", BACKBONES)
def test_a_batch_of_users_has_the_loss_of_its_users_alone(name, normalisation):
    index, train = index_of(), sequences(np.random.default_rng(4))
    backbone = BACKBONES[name](normalisation=normalisation)
    backbone.begin(index.n_tokens, word_width=3 if backbone.config.history_tokens == "item" else 0)
    examples = examples_of(backbone, index, train)
    examples = visible_words(examples) if backbone.net.shape.word_width else examples
    trees = build_trees(examples.targets, examples.target_offsets, examples.visible)
    if normalisation == "children":
        trees = trees.placed_in(CodeTree.build(examples.catalogue))

    rows = np.array([3, 0, 4, 1, 2])
    with torch.no_grad():
        together, alone = (
            [batch_loss(backbone.net, examples.sources, trees, part, "cpu")[0].item() for part in parts]
            for parts in ([rows], rows[:, None])
        )
    assert together[0] == pytest.approx(sum(alone), rel=1e-5) and len(set(alone)) == 5


def test_logits_of_a_groups_rows_are_those_of_indexing():
    rng = torch.Generator().manual_seed(0)
    table = torch.randn(3000, 8, generator=rng, requires_grad=True)
    tokens = torch.randint(3000, (40, 5), generator=rng)
    sizes = torch.tensor([1, 1, 3, 4, 5, 16, 17, 70, 200])  # around the ends of all buckets; the other groups are empty
    which = torch.randperm(40, generator=rng)[: len(sizes)].repeat_interleave(sizes)
    which = which[torch.randperm(len(which), generator=rng)]
    hidden = torch.randn(len(which), 8, generator=rng, requires_grad=True)

    ours = row_logits(hidden, table, tokens, which)
    golden = (hidden[:, None] * table[tokens[which]]).sum(-1)
    torch.testing.assert_close(ours, golden, rtol=1e-4, atol=1e-5)
    direction = torch.randn(ours.shape, generator=rng)
    mine, theirs = (torch.autograd.grad(out, (hidden, table), direction) for out in (ours, golden))
    torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-4)


def test_embeddings_begin_as_the_items_company_at_the_scale_asked_for():
    index, rng = index_of(), np.random.default_rng(4)
    train = Ragged.of([rng.integers(ITEMS, size=9).tolist() for _ in range(40)])
    backbone = BACKBONES["depth"](embedding_init="vectors", embedding_std=0.2)
    examples = examples_of(backbone, index, train)
    vectors = start_vectors(examples, 16, 0.2)
    backbone.begin(index.n_tokens, word_width=3, vectors=vectors)

    codes = torch.from_numpy(index.items.codes).long()
    there = (codes >= 0)[..., None]
    summed = (vectors[codes.clamp(min=0)] * there).sum(1)  # one per item, (23, k)
    rows = (backbone.net.embedding.weight[codes + 1] * there).sum(1)
    torch.testing.assert_close(rows @ rows.T, summed @ summed.T, rtol=1e-4, atol=1e-5)  # turned, not bent
    assert rows.detach().pow(2).mean().sqrt().item() == pytest.approx(0.2, rel=1e-3)


def test_a_user_begins_among_the_items_that_it_has():
    labels = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.int32)
    index = Index.from_labels(labels, np.array([[0, 5], [1, 5]], np.int32), scope="path", shared_alphabet=True)
    train = Ragged.of([[0, 1, 0, 1], [2, 3, 2, 3]])
    backbone = LightLM(LightLMConfig(**TINY))
    generator = Generator(backbone, backbone.template("direct", index), index, SimpleNamespace())
    vectors = start_vectors(make_examples(train, "direct", generator, None), 8, 1.0)
    items = vectors[torch.from_numpy(index.items.codes).long()].sum(1)
    users = vectors[torch.from_numpy(index.users.codes).long()].sum(1)
    torch.testing.assert_close(users, torch.stack([items[:2].mean(0), items[2:].mean(0)]), rtol=1e-4, atol=1e-5)
