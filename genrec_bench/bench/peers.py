"""Decoding with Hugging Face transformers: the same weights, the same constraint, the usual ways.

`NestedTrie` is the nested dictionary behind a `prefix_allowed_tokens_fn` (GENRE, LightLM, OpenP5); `TrieProcessor` the
best one gets without leaving `generate`: a logits processor over this package's own trie, without a Python call per beam.
Scores mean what ours mean: the log-softmax over the code tokens, masked afterwards, summed; no end token, no length
penalty. Token ids are ours plus one: 0 pads and starts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genrec_bench.backbones.t5 import T5
from genrec_bench.bench.hf import twin
from genrec_bench.core.arrays import Int32, Int64
from genrec_bench.core.sequences import Sources
from genrec_bench.decoders.csr_trie import Trie


def as_transformers(net: T5) -> Any:
    """The twin of `net` for decoding. Its softmax is over the code tokens: the output of row 0, which pads, is -inf."""
    model = twin(net, eos_token_id=None).eval()
    head = torch.nn.Linear(net.shape.d_model, net.shape.n_rows, device=net.embedding.weight.device)
    with torch.no_grad():
        head.weight.copy_(net.embedding.weight)
        head.bias.zero_()
        head.bias[0] = -torch.inf
    model.lm_head = head
    return model


class NestedTrie:
    """Item codes as nested dictionaries, as GENRE builds them: one dictionary a node, an empty one at the end."""

    def __init__(self, codes: Int32) -> None:
        self.root: dict[int, Any] = {}
        for code in (codes + 1).tolist():
            node = self.root
            for token in code:
                if token:
                    node = node.setdefault(token, {})

    def allowed(self, user: int, prefix: Tensor) -> list[int]:
        """`prefix_allowed_tokens_fn`: the tokens behind `prefix` (start token first), [0] where the trie has ended."""
        node = self.root
        for token in prefix.tolist()[1:]:
            node = node.get(token, {})
        return list(node) or [0]


class TrieProcessor:
    """A logits processor that walks our trie for all beams at once."""

    def __init__(self, trie: Trie) -> None:
        self.trie = trie

    def __call__(self, prefixes: Tensor, scores: Tensor) -> Tensor:
        """Scores (users * beams, V + 1) with -inf wherever `prefixes`, start token first, have no such child."""
        node = torch.zeros(len(prefixes), dtype=torch.int32, device=scores.device)
        for depth, column in enumerate(prefixes[:, 1:].unbind(1)):
            node = self.trie.step(node, (column - 1).int(), depth)
        token, _, there = self.trie.children(node, prefixes.shape[1] - 1)
        allowed = torch.full_like(scores, -torch.inf)
        allowed.scatter_(1, torch.where(there, token.long() + 1, 0), 0.0)
        allowed[:, 0] = -torch.inf
        return scores + allowed


def padded(sources: Sources, device: str) -> tuple[Tensor, Tensor]:
    """`input_ids` and `attention_mask` (users, source tokens) of the sources."""
    there = np.arange(int(sources.lengths.max())) < sources.lengths[:, None]
    ids = np.zeros(there.shape, np.int64)
    ids[there] = sources.tokens.astype(np.int64) + 1
    return torch.from_numpy(ids).to(device), torch.from_numpy(there.astype(np.int64)).to(device)


@torch.no_grad()
def generate(
    model: Any,
    inputs: tuple[Tensor, Tensor],
    beams: int,
    width: int,
    *,
    allowed: Callable[[int, Tensor], list[int]] | None = None,
    processor: TrieProcessor | None = None,
    scores: bool = False,
) -> tuple[Int64, Any]:
    """The `beams` best code sequences of every user, best first, as our tokens (users, beams, width), and their scores
    (users, beams) where `scores` asks for them."""
    ids, mask = inputs
    found = model.generate(
        input_ids=ids,
        attention_mask=mask,
        num_beams=beams,
        num_return_sequences=beams,
        max_new_tokens=width,
        do_sample=False,
        length_penalty=0.0,
        early_stopping=False,
        eos_token_id=None,
        pad_token_id=0,
        prefix_allowed_tokens_fn=allowed,
        logits_processor=[] if processor is None else [processor],
        return_dict_in_generate=True,
        output_scores=scores,
    )
    tokens = found.sequences[:, 1:].view(len(ids), beams, -1).cpu().numpy() - 1
    return tokens, found.sequences_scores.view(len(ids), beams).cpu().numpy() if scores else None


@torch.no_grad()
def scores_of(model: Any, inputs: tuple[Tensor, Tensor], tokens: Any) -> Any:
    """The scores (users, places) of given code sequences, our tokens (users, places, width), read from one forward pass."""
    ids, mask = inputs
    places, codes = tokens.shape[1], torch.from_numpy(tokens.astype(np.int64) + 1).to(ids.device).flatten(0, 1)
    ids, mask = ids.repeat_interleave(places, 0), mask.repeat_interleave(places, 0)
    start = torch.nn.functional.pad(codes[:, :-1], (1, 0))  # 0 starts
    logits = model(input_ids=ids, attention_mask=mask, decoder_input_ids=start).logits
    each = logits.log_softmax(-1).gather(-1, codes[..., None])[..., 0]
    return each.sum(1).view(-1, places).cpu().numpy()
