"""The network equals transformers' T5, and its tree positions equal plain sequences."""

import pytest
import torch

from genrec_bench.backbones.hf_t5 import from_transformers
from genrec_bench.backbones.t5 import T5, DecodeState, T5Shape

VOCAB, LAYERS = 60, 2


@pytest.fixture(scope="module")
def pair():
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.T5Config(
        vocab_size=VOCAB, d_model=32, d_kv=8, d_ff=48, num_layers=LAYERS, num_heads=4, dropout_rate=0.1,
        decoder_start_token_id=0, pad_token_id=0,
    )  # fmt: skip
    theirs = transformers.T5ForConditionalGeneration(config).eval()
    for bias in (theirs.encoder, theirs.decoder):  # large biases, so that a wrong bucket shows
        bias.block[0].layer[0].SelfAttention.relative_attention_bias.weight.data.normal_(std=2.0)
    ours = T5(T5Shape(VOCAB, VOCAB - 1, d_model=32, layers=LAYERS, heads=4, d_kv=8, d_ff=48)).eval()
    ours.load_state_dict(from_transformers(theirs.state_dict(), 8))
    return ours, theirs


@pytest.fixture(scope="module")
def batch():
    torch.manual_seed(1)
    source = torch.randint(1, VOCAB, (3, 150))
    attention = torch.ones_like(source)
    attention[1, 90:] = 0
    attention[2, 3:] = 0
    mask = torch.zeros(3, 1, 1, 150).masked_fill(attention[:, None, None] == 0, float("-inf"))
    return source, attention, mask, torch.randint(1, VOCAB, (3, 40))


def chain(length, users):
    at = torch.arange(length)
    ancestors = (at[:, None] - at[None, :]).clamp(min=0)
    return ancestors.expand(users, -1, -1), at.expand(users, -1)


def expected(theirs, source, attention, target):
    start = torch.zeros(len(target), 1, dtype=torch.long)
    rows = torch.cat([start, target[:, :-1]], 1)
    return rows, theirs(input_ids=source, attention_mask=attention, decoder_input_ids=rows).logits[..., 1:]


@torch.no_grad()
def test_logits_equal_those_of_transformers(pair, batch):
    ours, theirs = pair
    source, attention, mask, target = batch
    rows, golden = expected(theirs, source, attention, target)
    ancestors, depth = chain(target.shape[1], 3)
    hidden = ours.decode_tree(rows, ancestors, depth, ours.encode(source, mask), mask)
    torch.testing.assert_close(ours.logits(hidden), golden, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_stepwise_decoding_equals_transformers_along_the_chosen_parents(pair, batch):
    ours, theirs = pair
    source, attention, mask, _ = batch
    encoded = ours.encode(source, mask)
    state = DecodeState([layer.context(encoded) for layer in ours.decoder], mask, None, [], 0)
    hidden, state = ours.step(torch.zeros(3, 1, dtype=torch.long), torch.zeros(3, 1, dtype=torch.long), state)
    first = torch.tensor([[5, 6]]).expand(3, -1)
    hidden, state = ours.step(first, torch.zeros_like(first), state)
    parents, second = torch.tensor([[1, 0, 1]]).expand(3, -1), torch.tensor([[7, 8, 9]]).expand(3, -1)
    hidden, state = ours.step(second, parents, state)
    for beam, tokens in enumerate([(0, 6, 7), (0, 5, 8), (0, 6, 9)]):
        rows = torch.tensor([tokens]).expand(3, -1)
        golden = theirs(input_ids=source, attention_mask=attention, decoder_input_ids=rows).logits[:, -1, 1:]
        torch.testing.assert_close(ours.logits(hidden)[:, beam], golden, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_positions_that_share_a_prefix_equal_separate_sequences(pair, batch):
    ours, _ = pair
    source, _, mask, _ = batch
    encoded = ours.encode(source, mask)
    # tree: 0 - 5 - {7, 8}, 0 - 6
    rows = torch.tensor([[0, 5, 6, 7, 8]]).expand(3, -1)
    ancestors = torch.tensor([[[0, 0, 0], [1, 0, 0], [2, 0, 0], [3, 1, 0], [4, 1, 0]]]).expand(3, -1, -1)
    depth = torch.tensor([[0, 1, 1, 2, 2]]).expand(3, -1)
    tree = ours.decode_tree(rows, ancestors, depth, encoded, mask)
    for last, at in ((7, 3), (8, 4)):
        alone = ours.decode_tree(torch.tensor([[0, 5, last]]).expand(3, -1), *chain(3, 3), encoded, mask)
        torch.testing.assert_close(tree[:, [0, 1, at]], alone, rtol=1e-5, atol=1e-5)


def test_queries_are_drawn_as_large_as_keys_so_that_adamw_moves_both_alike():
    network = T5(T5Shape(VOCAB, VOCAB - 1, d_model=128, layers=1, heads=2, d_kv=64, d_ff=16))
    attention = network.encoder[0].self_.attention
    assert 0.95 < attention.q.weight.std() / attention.k.weight.std() < 1.05
    x = torch.randn(5, 128)
    torch.testing.assert_close(attention.q(x), x @ attention.q.weight.T / 8)
