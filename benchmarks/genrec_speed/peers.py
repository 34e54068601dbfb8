"""Decoding with Hugging Face transformers: the same weights and the same constraint, in the usual ways.

`NestedTrie` is the nested dictionary behind a `prefix_allowed_tokens_fn` (GENRE, LightLM, OpenP5). `TrieProcessor` is
the best one gets without leaving `generate`: a logits processor over our own trie, without a Python call per beam.
Scores mean what ours mean: the log-softmax over the code tokens, masked afterwards, summed; no end token, no length
penalty. Token ids are ours plus one: id 0 is the padding and the start token.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genrec_bench.api import Int32, Int64, Trie
from genrec_bench.backbones.t5 import T5
from genrec_speed.hf import twin


def as_transformers(net: T5) -> Any:
    """The twin of `net` for decoding. Its softmax is over the code tokens: the logit of id 0 is -inf."""
    model = twin(net, eos_token_id=None).eval()
    head = torch.nn.Linear(net.shape.d_model, net.shape.n_rows, device=net.embedding.weight.device)
    with torch.no_grad():
        head.weight.copy_(net.embedding.weight)
        head.bias.zero_()
        head.bias[0] = -torch.inf
    model.lm_head = head
    return model


class NestedTrie:
    """Item codes as nested dictionaries, as GENRE builds them: one dictionary per node, an empty one at the end."""

    def __init__(self, codes: Int32) -> None:
        self.root: dict[int, Any] = {}
        for code in (codes + 1).tolist():
            node = self.root
            for token in code:
                if token:
                    node = node.setdefault(token, {})

    def allowed(self, user: int, prefix: Tensor) -> list[int]:
        """`prefix_allowed_tokens_fn`: the tokens after `prefix` (start token first), or [0] at the end of a code."""
        node = self.root
        for token in prefix.tolist()[1:]:
            node = node.get(token, {})
        return list(node) or [0]


class TrieProcessor:
    """A logits processor that walks our trie for all beams at once."""

    def __init__(self, trie: Trie) -> None:
        self.trie = trie

    def __call__(self, prefixes: Tensor, scores: Tensor) -> Tensor:
        """Scores (users * beams, V + 1), -inf for every token that cannot follow its prefix (start token first)."""
        node = torch.zeros(len(prefixes), dtype=torch.int32, device=scores.device)
        for depth, column in enumerate(prefixes[:, 1:].unbind(1)):
            node = self.trie.step(node, (column - 1).int(), depth)

        token, _, exists = self.trie.children(node, prefixes.shape[1] - 1)
        allowed = torch.full_like(scores, -torch.inf)
        allowed.scatter_(1, torch.where(exists, token.long() + 1, 0), 0.0)
        allowed[:, 0] = -torch.inf
        return scores + allowed


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
    """The `beams` best code sequences of every user, best first, as our tokens (users, beams, width).

    With `scores`, also their scores (users, beams); None otherwise.
    """
    ids, mask = inputs
    output = model.generate(
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

    # Drop the start token, and undo the shift that keeps 0 for padding.
    tokens = output.sequences[:, 1:].view(len(ids), beams, -1).cpu().numpy() - 1
    return tokens, output.sequences_scores.view(len(ids), beams).cpu().numpy() if scores else None


@torch.no_grad()
def scores_of(model: Any, inputs: tuple[Tensor, Tensor], tokens: Any) -> Any:
    """The scores (users, positions) of given codes, our tokens (users, positions, width), by one forward pass."""
    ids, mask = inputs
    positions = tokens.shape[1]
    codes = torch.from_numpy(tokens.astype(np.int64) + 1).to(ids.device).flatten(0, 1)
    ids, mask = ids.repeat_interleave(positions, 0), mask.repeat_interleave(positions, 0)

    decoder_ids = torch.nn.functional.pad(codes[:, :-1], (1, 0))  # id 0 starts
    logits = model(input_ids=ids, attention_mask=mask, decoder_input_ids=decoder_ids).logits
    logp = logits.log_softmax(-1).gather(-1, codes[..., None])[..., 0]
    return logp.sum(1).view(-1, positions).cpu().numpy()
