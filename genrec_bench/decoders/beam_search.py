"""One beam search for every decoder: over the catalogue's trie, or free.

A hypothesis's score is the sum of the log-softmax over all code tokens (`full_vocab`: the mask comes after the softmax),
without end token and without length penalty. Finished hypotheses compete with open ones by their sums. The best score
that was ever discarded is kept: it bounds everything the beam did not follow.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genrec_bench.core.arrays import PAD, Int32, Ragged
from genrec_bench.core.rankings import NO_HYPOTHESIS, Generations
from genrec_bench.core.sequences import Sources
from genrec_bench.decoders.csr_trie import Trie
from genrec_bench.errors import Diverged
from genrec_bench.host.contracts import START, Backbone

INF = float("inf")


@dataclass
class Beam:
    """Hypotheses of all users, (U, B); empty places score -inf. `key` is what survivors are chosen by and what is
    emitted, best first: the score itself unless a `Rank` says otherwise. `node` is the trie node a hypothesis stands on
    (-1: it has left the trie), `slot` its place in the backbone's last call, `open` whether it goes on."""

    score: Tensor
    key: Tensor
    tokens: Tensor  # (U, B, width), padded with -1
    node: Tensor
    slot: Tensor
    open: Tensor


# Scores and keys of all continuations, (U, B, C) each, from the beam, what each continuation adds to the sum (-inf where
# there is none), and the trie node it leads to (None in a free search).
Rank = Callable[[Beam, Tensor, Tensor | None], tuple[Tensor, Tensor]]
# The next beam and the best discarded key (U,), from the arguments of `extend`.
Grow = Callable[[Beam, Tensor, Trie, int, int, bool, Tensor | None], tuple[Beam, Tensor]]
# Tokens and parents (U, N) of the backbone's next call, from the beam and its step; None: nothing is open. Sets `beam.slot`
# to where each hypothesis is found in that call.
Calls = Callable[[Beam, int], tuple[Tensor, Tensor] | None]
# What a search leaves on its device: keys, items (U, B), tokens (U, B, width) and the best discarded key (U,).
Found = tuple[Tensor, Tensor, Tensor, Tensor]


@torch.no_grad()
def beam_search(
    backbone: Backbone,
    batch: Sources,
    trie: Trie,
    *,
    beams: int,
    free: bool,
    exclude: Ragged | None = None,
    grow: Grow | None = None,
) -> Generations:
    """The `beams` best hypotheses of every source, best first, ties by item number.

    `free` searches the whole alphabet: a hypothesis ends at the first prefix that is a code, and one that reaches the
    trie's width without is no item. Otherwise only the trie is walked, and items in `exclude` are left out of it.
    `grow` takes the place of `extend`, for searches that choose their survivors in another way.
    """
    excluded = None
    if exclude is not None:
        excluded = torch.from_numpy(excluded_leaves(trie, exclude)).to(trie.device)
    grow, state = grow or extend, backbone.start(batch)
    return listed(walk(backbone, state, trie, len(batch), beams, excluded, packed, grow, free=free), beams)


def walk(
    backbone: Backbone,
    state: Any,
    trie: Trie,
    users: int,
    beams: int,
    excluded: Tensor | None,
    calls: Calls,
    grow: Grow,
    *,
    free: bool = False,
) -> Found:
    """Search from the backbone's `state` of `users` sources. `excluded` as in `Trie.blocked`. Beside `calls` and `grow`,
    nothing here waits for the device or takes a shape from what was found."""
    device = trie.device
    zero = torch.zeros(users, 1, dtype=torch.long, device=device)
    nothing = torch.zeros(users, 1, device=device)
    beam = Beam(
        nothing,
        nothing,
        torch.full((users, 1, trie.width), PAD, dtype=torch.int32, device=device),
        zero.int(),
        zero,
        torch.ones(users, 1, dtype=torch.bool, device=device),
    )
    bound = torch.full((users,), -INF, device=device)
    call: tuple[Tensor, Tensor] | None = torch.full_like(zero, START), zero
    for step in range(trie.width):
        if call is None:
            break
        logits, state = backbone.advance(state, *call)
        trie.check_columns(logits.shape[-1] - backbone.extra_columns)
        logp = logits.float().log_softmax(-1)  # (U, calls, V)
        beam, best_left = grow(beam, logp, trie, step, beams, free, excluded)
        bound = torch.maximum(bound, best_left)
        call = calls(beam, step) if step + 1 < trie.width else None
    items = trie.item_at(beam.node)
    return beam.key, items, beam.tokens, bound


def extend(
    beam: Beam,
    logp: Tensor,
    trie: Trie,
    step: int,
    beams: int,
    free: bool,
    excluded: Tensor | None,
    rank: Rank | None = None,
) -> tuple[Beam, Tensor]:
    """All continuations of the open hypotheses beside the finished ones; the best `beams` by `rank`, or by score,
    survive, best first. `logp` (U, calls, V) is the backbone's answer, found by `beam.slot`.

    Returns the new beam and the best discarded key (U,).
    """
    users, width = beam.score.shape
    vocab = logp.shape[-1]
    if free:
        child_token = torch.arange(vocab, device=logp.device, dtype=torch.int32).expand(users, width, -1)
        added, child_node = logp.gather(1, beam.slot[..., None].expand(-1, -1, vocab)), None
    else:
        child_token, child_node, there = trie.children(beam.node, step)  # (U, B, C)
        if excluded is not None:
            there = there & ~trie.blocked(child_node, excluded)
        places = child_token + (beam.slot * vocab)[..., None]  # of the children only, among all (calls, V) of a user
        added = torch.where(there, logp.flatten(1).gather(1, places.flatten(1)).view(there.shape), -INF)
    families = child_token.shape[-1]
    grown = beam.score[..., None] + added
    grown, ranked = (grown, grown) if rank is None else rank(beam, added, child_node)
    done = beam.key.masked_fill(beam.open, -INF)
    pool = torch.cat([done, ranked.masked_fill(~beam.open[..., None], -INF).flatten(1)], 1)  # (U, B + B*C)
    kept = min(beams, pool.shape[1])
    more = min(kept + 1, pool.shape[1])
    keys, places = pool.topk(more, dim=1)
    left = keys[:, kept] if more > kept else torch.full_like(keys[:, 0], -INF)
    keys, places = keys[:, :kept], places[:, :kept]
    scores = keys if rank is None else torch.cat([beam.score, grown.flatten(1)], 1).gather(1, places)
    was_done = places < width
    grown_at = (places - width).clamp(min=0)
    origin = torch.where(was_done, places, grown_at // families)
    token = torch.where(was_done, PAD, child_token.flatten(1).gather(1, grown_at))
    tokens = beam.tokens.gather(1, origin[..., None].expand(-1, -1, trie.width))
    tokens[..., step] = torch.where(was_done, tokens[..., step], token)
    node = beam.node.gather(1, origin)
    if child_node is None:
        node = torch.where(was_done, node, trie.step(node, token, step))
    else:
        node = torch.where(was_done, node, child_node.flatten(1).gather(1, grown_at))
    still = ~was_done & ~trie.is_item(node) & (keys > -INF) & (step + 1 < trie.width)
    return Beam(scores, keys, tokens, node, beam.slot.gather(1, origin), still), left


def packed(beam: Beam, step: int) -> tuple[Tensor, Tensor] | None:
    """The open hypotheses, packed to the left; padding repeats the first."""
    if not beam.open.any():
        return None
    places = torch.argsort(~beam.open, dim=1, stable=True)[:, : int(beam.open.sum(1).max())]
    live = beam.open.gather(1, places)
    places = torch.where(live, places, places[:, :1])
    tokens = beam.tokens[..., step].gather(1, places).long()
    # a user without open hypotheses repeats a finished one: any token will do, nobody reads the answer
    parents = beam.slot.gather(1, places)
    beam.slot = torch.where(beam.open, beam.open.cumsum(1) - 1, 0)
    return tokens.clamp(min=0), parents


def listed(found: Found, beams: int) -> Generations:
    """To NumPy, padded to `beams` places, ties by item number. Diverged if scores are no numbers."""
    score, items, tokens, bound = (part.cpu().numpy() for part in found)
    if np.isnan(score).any():
        raise Diverged("the network's scores are no numbers; if its training diverged, lower backbone.learning_rate")
    items = np.where(np.isneginf(score), NO_HYPOTHESIS, items).astype(np.int32)
    order = np.lexsort((items, -score))
    pad = ((0, 0), (0, beams - score.shape[1]))
    tokens = np.take_along_axis(tokens, order[..., None], 1)
    tokens[np.take_along_axis(items, order, 1) == NO_HYPOTHESIS] = PAD
    return Generations(
        np.pad(tokens, (*pad, (0, 0)), constant_values=PAD),
        np.pad(np.take_along_axis(score, order, 1), pad, constant_values=-np.inf),
        np.pad(np.take_along_axis(items, order, 1), pad, constant_values=NO_HYPOTHESIS),
        bound,
    )


def excluded_leaves(trie: Trie, exclude: Ragged) -> Int32:
    """Sorted leaf places of each user's excluded items, (U, X), repeats removed, padded with a place above all."""
    leaves = trie.places
    rows, places = exclude.rows, leaves[exclude.values]
    pairs = np.unique(rows * len(leaves) + places) if len(rows) else np.zeros(0, np.int64)
    rows, places = np.divmod(pairs, max(1, len(leaves)))
    counts = np.bincount(rows, minlength=len(exclude))
    out = np.full((len(exclude), max(1, int(counts.max(initial=0)))), len(leaves), np.int32)
    out[rows, np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)] = places
    return out
