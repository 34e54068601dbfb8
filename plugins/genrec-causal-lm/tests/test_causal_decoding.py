"""Step by step, beam by beam, the logits are those of transformers' plain forward pass."""

import numpy as np
import pytest
import torch
import transformers
from causal_fakes import cycle_examples, sources_of
from genrec_causal_lm import layouts
from genrec_causal_lm.backbone import CausalConfig, CausalLM

from genrec_bench.api import START, ConfigError, build_trees, take_batch

V = 6
PROMPTS = [[0, 3, 1, 4, 9, 12], [2], [], [5, 5, 1, 20]]  # 9, 12 and 20 are words 3, 6 and 14


CASES = [
    ("llama", "tree"),
    ("llama", "rows"),
    ("gpt2", "tree"),
    ("gpt2", "rows"),
    ("bloom", "rows"),
    ("mistral", "rows"),
]


@pytest.fixture(params=CASES)
def ready(request, checkpoint):
    name, layout = request.param
    backbone = CausalLM(CausalConfig(model=checkpoint(name), layout=layout))
    with torch.random.fork_rng():
        torch.manual_seed(1)
        backbone.begin(V)
    return backbone


@torch.no_grad()
def golden(backbone, prompt, written):
    """Logits after a prompt and a code's first tokens: the whole sequence at once, no cache, no padding, no mask."""
    numbers = [token + (token >= V) for token in prompt] + [V, *written]
    return backbone.net.model(input_ids=torch.tensor([numbers])).logits[0, -1]


def check(backbone, logits, written_of):
    for user, prompt in enumerate(PROMPTS):
        for beam, written in enumerate(written_of[user]):
            torch.testing.assert_close(logits[user, beam], golden(backbone, prompt, written), rtol=1e-4, atol=1e-4)


def test_logits_equal_a_plain_forward_pass_over_batches_widths_and_parents(ready):
    users = len(PROMPTS)
    state = ready.start(sources_of(PROMPTS))
    zero = torch.zeros(users, 1, dtype=torch.long)
    logits, state = ready.advance(state, zero + START, zero)
    assert logits.shape == (users, 1, V) and logits.dtype == torch.float32
    check(ready, logits, [[()]] * users)
    first = torch.tensor([[0, 4, 2]]).expand(users, -1)
    logits, state = ready.advance(state, first, torch.zeros_like(first))
    check(ready, logits, [[(0,), (4,), (2,)]] * users)
    rng = np.random.default_rng(0)
    parents, second = rng.integers(3, size=(users, 5)), rng.integers(V, size=(users, 5))
    written = [[(int(first[u, p]), int(t)) for p, t in zip(parents[u], second[u], strict=True)] for u in range(users)]
    logits, state = ready.advance(state, torch.from_numpy(second), torch.from_numpy(parents))
    check(ready, logits, written)
    parents = torch.tensor([[4, 1]]).expand(users, -1)
    logits, _ = ready.advance(state, torch.full_like(parents, 3), parents)
    check(ready, logits, [[(*written[u][p], 3) for p in (4, 1)] for u in range(users)])


def test_a_state_can_be_continued_more_than_once(ready):
    batch = sources_of(PROMPTS)
    zero = torch.zeros(len(PROMPTS), 1, dtype=torch.long)
    _, state = ready.advance(ready.start(batch), zero + START, zero)
    before, _ = ready.advance(state, zero + 3, zero)
    ready.advance(state, torch.tensor([[1, 2]]).expand(len(PROMPTS), -1), zero.expand(-1, 2))
    again, _ = ready.advance(state, zero + 3, zero)
    assert torch.equal(before, again)


@pytest.mark.parametrize(("name", "layout"), [("llama", "tree"), ("gpt2", "tree"), ("bloom", "rows")])
def test_auto_shares_a_users_keys_where_the_architecture_can(checkpoint, name, layout):
    backbone = CausalLM(CausalConfig(model=checkpoint(name)))
    backbone.begin(V)
    assert backbone.layout.name == layout


def test_a_tree_refuses_a_prompt_beyond_the_sliding_window_and_rows_read_it(checkpoint):
    backbones = [CausalLM(CausalConfig(model=checkpoint("mistral"), layout=layout)) for layout in ("tree", "rows")]
    for backbone in backbones:
        backbone.begin(V)
    long = sources_of([[0, 3] * 6])
    with pytest.raises(ConfigError, match=r"reads 8: lower backbone\.history"):
        backbones[0].start(long)
    zero = torch.zeros(1, 1, dtype=torch.long)
    logits, _ = backbones[1].advance(backbones[1].start(long), zero + START, zero)
    torch.testing.assert_close(logits[0, 0], golden(backbones[1], [0, 3] * 6, []), rtol=1e-4, atol=1e-4)


def test_a_tree_that_an_architecture_cannot_compute_is_refused(checkpoint):
    backbone = CausalLM(CausalConfig(model=checkpoint("bloom"), layout="tree"))
    with pytest.raises(ConfigError, match="use auto or rows"):
        backbone.begin(V)


@pytest.mark.parametrize("layout", ["auto", "rows"])
def test_an_architecture_without_keys_and_values_is_refused_before_training(checkpoint, layout):
    backbone = CausalLM(CausalConfig(model=checkpoint("mamba"), layout=layout))
    with pytest.raises(ConfigError, match="keeps no keys and values"):
        backbone.begin(V)


def test_a_wrong_mask_is_noticed_by_the_trial(monkeypatch):
    backbone = CausalLM(CausalConfig(layers=2, d_model=32, heads=2, d_ff=32))
    monkeypatch.setattr(layouts, "additive", lambda visible: torch.zeros(visible.shape)[:, None])
    backbone.begin(V)
    assert backbone.layout.name == "rows"


def test_beams_of_a_tree_store_the_prompt_once():
    backbone = CausalLM(CausalConfig(layers=1, d_model=32, heads=2, d_ff=32))
    backbone.begin(V)
    zero = torch.zeros(len(PROMPTS), 1, dtype=torch.long)
    _, state = backbone.advance(backbone.start(sources_of([p[:1] for p in PROMPTS])), zero + START, zero)
    _, state = backbone.advance(state, zero.expand(-1, 50), zero.expand(-1, 50))
    assert state.pairs[0][0].shape == (len(PROMPTS), 2, 1 + 1 + 50, 16)


def test_a_call_wider_than_one_pass_gives_the_same_logits_and_goes_on_alike(ready, monkeypatch):
    """What the exact decoder does: every node of a level in one call."""
    users = len(PROMPTS)
    rng = np.random.default_rng(1)
    widths = [(1, 1), (1, 7), (7, 9), (9, 4)]
    calls = [[torch.from_numpy(rng.integers(top, size=(users, n))) for top in (V, was)] for was, n in widths]
    calls[0][0][:] = START

    def walk():
        state, found = ready.start(sources_of(PROMPTS)), []
        for tokens, parents in calls:
            logits, state = ready.advance(state, tokens, parents)
            found.append(logits)
        return found

    whole = walk()
    monkeypatch.setattr(layouts, "WIDE", 3)
    for ours, expected in zip(walk(), whole, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_a_tree_of_targets_has_the_logits_of_its_chains(checkpoint, name):
    backbone = CausalLM(CausalConfig(model=checkpoint(name)))
    backbone.begin(V)
    examples = cycle_examples(targets=5)
    rows = np.array([7, 3, 11])
    trees = build_trees(examples.targets, examples.target_offsets)
    batch = take_batch(trees, rows)
    logits = layouts.TreeLayout().train(backbone.net, examples.sources.take(rows), batch, "cpu")
    at = 0
    for row in rows:
        nodes = range(trees.node_offsets[row], trees.node_offsets[row + 1])
        prompt = examples.sources.tokens[examples.sources.offsets[row] : examples.sources.offsets[row + 1]].tolist()
        for node in nodes:
            written = [int(trees.token[node])] if trees.depth[node] else []
            torch.testing.assert_close(logits[at], golden(backbone, prompt, written), rtol=1e-4, atol=1e-4)
            at += 1


@torch.no_grad()
@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_code_tokens_that_copy_a_checkpoints_words_are_worth_what_the_words_are(checkpoint, name):
    untouched = transformers.AutoModelForCausalLM.from_pretrained(checkpoint(name)).eval()
    backbone = CausalLM(CausalConfig(model=checkpoint(name)))
    backbone.begin(V)
    rows, head = backbone.net.tables["rows"], backbone.net.tables["head"]
    rows.weight.copy_(untouched.get_input_embeddings().weight[20 : 21 + V])  # code token t is word 20 + t
    if head.own is not None:
        head.own.copy_(untouched.get_output_embeddings().weight[20 : 20 + V])
    zero = torch.zeros(len(PROMPTS), 1, dtype=torch.long)
    _, state = backbone.advance(backbone.start(sources_of(PROMPTS)), zero + START, zero)
    logits, _ = backbone.advance(state, zero + 2, zero)
    for user, prompt in enumerate(PROMPTS):
        words = [token - V if token >= V else 20 + token for token in prompt] + [20 + V, 22]
        expected = untouched(input_ids=torch.tensor([words])).logits[0, -1, 20 : 20 + V]
        torch.testing.assert_close(logits[user, 0], expected, rtol=1e-4, atol=1e-4)
