"""One beam search for every decoder: over the catalogue's trie, or free.

A hypothesis's score is the sum of its tokens' log-probabilities, without end token and without length penalty. They are
normalised over all code tokens (`alphabet`: the mask comes after the softmax) or over the children that a node of the
catalogue's trie has (`children`), excluded ones included. Finished hypotheses compete with open ones by their sums. The best score
that was ever discarded is kept: it bounds everything the beam did not follow.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genrec_bench.core.arrays import PAD, Int32, Ragged
from genrec_bench.core.rankings import NO_HYPOTHESIS, Generations
from genrec_bench.core.sequences import Sources
from genrec_bench.decoders.csr_trie import Trie
from genrec_bench.errors import Diverged
from genrec_bench.host.contracts import START, Backbone, Candidates, Normalisation

INF = float("inf")
NAN_SCORES = "the network's scores are NaN; if its training diverged, lower backbone.learning_rate"


@dataclass
class Beam:
    """Hypotheses of all users, (U, B); empty places score -inf.

    `key` decides who survives and is emitted, best first: the score itself unless a `Rank` says otherwise. `node` is the
    hypothesis's trie node (-1: it has left the trie), `slot` its place in the backbone's last call, `open` whether it
    goes on.
    """

    score: Tensor
    key: Tensor
    tokens: Tensor  # (U, B, width), padded with -1
    node: Tensor
    slot: Tensor
    open: Tensor


@dataclass
class Answer:
    """The backbone's answer to one call: `hidden` (U, calls, ...), and the log-probabilities that are asked of it.

    With `fixed`, no shape follows from what was found.
    """

    backbone: Backbone
    hidden: Tensor
    normalisation: Normalisation
    fixed: bool = False

    @cached_property
    def logp(self) -> Tensor:
        """Log-probabilities of all tokens (U, calls, V), normalised over them."""
        return self.backbone.logits(self.hidden).float().log_softmax(-1)

    def of_children(self, trie: Trie, beam: Beam, step: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Of every hypothesis (U, B): its child tokens, child nodes, whether there is such a child, and the children's
        log-probabilities, (U, B, C) each; the last are meaningless where there is no child."""
        if self.normalisation == "alphabet":
            token, node, there = trie.children(beam.node, step)
            places = token + (beam.slot * self.logp.shape[-1])[..., None]  # among all (calls, V) of a user
            trie.check_columns(self.logp.shape[-1] - self.backbone.extra_columns)
            return token, node, there, self.logp.flatten(1).gather(1, places.flatten(1)).view(there.shape)

        if self.fixed:
            which = torch.arange(beam.node.numel(), device=beam.node.device).view(beam.node.shape)
            nodes = beam.node.flatten()
        else:
            nodes, which = beam.node.unique(return_inverse=True)
        tokens, children, there = trie.children(nodes, step)  # (rows, C)
        own = self.hidden.gather(1, beam.slot[..., None].expand(-1, -1, self.hidden.shape[-1]))
        logits = self.backbone.logits(own, Candidates(tokens.long(), which)).float()
        logp = logits.masked_fill(~there[which], -INF).log_softmax(-1)
        return tokens[which], children[which], there[which], logp


# Scores and keys of all continuations, (U, B, C) each, from the beam, what each continuation adds to the sum (-inf where
# there is none), and the trie node it leads to (None in a free search).
Rank = Callable[[Beam, Tensor, Tensor | None], tuple[Tensor, Tensor]]
# The next beam and the best discarded key (U,), from the arguments of `extend`.
Grow = Callable[[Beam, Answer, Trie, int, int, bool, Tensor | None], tuple[Beam, Tensor]]
# Tokens and parents (U, N) of the backbone's next call, from the beam and its step; None: nothing is open. Sets `beam.slot`
# to each hypothesis's place in that call.
Calls = Callable[[Beam, int], tuple[Tensor, Tensor] | None]
# The end of a search, on its device: keys, items (U, B), tokens (U, B, width) and the best discarded key (U,).
Searched = tuple[Tensor, Tensor, Tensor, Tensor]


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
    normalisation: Normalisation | None = None,
) -> Generations:
    """The `beams` best hypotheses of every source, best first, ties by item number.

    `free` searches the whole alphabet: a hypothesis ends at the first prefix that is a code, and is not an item if it
    reaches the trie's width without one. Otherwise only the trie is walked, without the items in `exclude`.
    `grow` takes the place of `extend`, for searches that choose their survivors in another way. `normalisation`: None is
    that of the backbone's training.
    """
    excluded = None
    if exclude is not None:
        excluded = torch.from_numpy(excluded_leaves(trie, exclude)).to(trie.device)
    state = backbone.start(batch)
    normalised = normalisation or backbone.normalisation
    searched = walk(backbone, state, trie, len(batch), beams, excluded, packed, grow or extend, normalised, free=free)
    return to_generations(searched, beams)


def walk(
    backbone: Backbone,
    state: Any,
    trie: Trie,
    users: int,
    beams: int,
    excluded: Tensor | None,
    calls: Calls,
    grow: Grow,
    normalisation: Normalisation,
    *,
    free: bool = False,
    fixed: bool = False,
) -> Searched:
    """Search from the backbone's `state` of `users` sources. `excluded` as in `Trie.blocked`.

    Only `calls` and `grow` may wait for the device. With `fixed`, no shape follows from what was found, if they do not.
    """
    device = trie.device
    zero = torch.zeros(users, 1, dtype=torch.long, device=device)
    score = torch.zeros(users, 1, device=device)
    tokens = torch.full((users, 1, trie.width), PAD, dtype=torch.int32, device=device)
    beam = Beam(score, score, tokens, zero.int(), zero, torch.ones(users, 1, dtype=torch.bool, device=device))

    bound = torch.full((users,), -INF, device=device)
    call: tuple[Tensor, Tensor] | None = torch.full_like(zero, START), zero
    for step in range(trie.width):
        if call is None:
            break
        hidden, state = backbone.advance(state, *call)
        answer = Answer(backbone, hidden, normalisation, fixed)
        beam, discarded = grow(beam, answer, trie, step, beams, free, excluded)
        bound = torch.maximum(bound, discarded)
        call = calls(beam, step) if step + 1 < trie.width else None

    return beam.key, trie.item_at(beam.node), beam.tokens, bound


def extend(
    beam: Beam,
    answer: Answer,
    trie: Trie,
    step: int,
    beams: int,
    free: bool,
    excluded: Tensor | None,
    rank: Rank | None = None,
) -> tuple[Beam, Tensor]:
    """All continuations of the open hypotheses beside the finished ones; the best `beams` by `rank`, or by score,
    survive, best first. `beam.slot` says which row of the backbone's answer is whose.

    Gives the new beam and the best discarded key (U,).
    """
    users, width = beam.score.shape

    # what each continuation adds, and the node it leads to
    if free:
        vocab = answer.logp.shape[-1]
        trie.check_columns(vocab - answer.backbone.extra_columns)
        child_token = torch.arange(vocab, device=answer.logp.device, dtype=torch.int32).expand(users, width, -1)
        added, child_node = answer.logp.gather(1, beam.slot[..., None].expand(-1, -1, vocab)), None
    else:
        child_token, child_node, there, logp = answer.of_children(trie, beam, step)  # (U, B, C)
        if excluded is not None:
            there = there & ~trie.blocked(child_node, excluded)
        added = torch.where(there, logp, -INF)
    children = child_token.shape[-1]
    sums = beam.score[..., None] + added
    sums, ranked = (sums, sums) if rank is None else rank(beam, added, child_node)

    # the survivors, and the best that is discarded
    done = beam.key.masked_fill(beam.open, -INF)
    pool = torch.cat([done, ranked.masked_fill(~beam.open[..., None], -INF).flatten(1)], 1)  # (U, B + B*C)
    kept = min(beams, pool.shape[1])
    more = min(kept + 1, pool.shape[1])
    keys, places = pool.topk(more, dim=1)
    discarded = keys[:, kept] if more > kept else torch.full_like(keys[:, 0], -INF)
    keys, places = keys[:, :kept], places[:, :kept]
    scores = keys if rank is None else torch.cat([beam.score, sums.flatten(1)], 1).gather(1, places)

    # what each survivor continues, and by which token
    was_done = places < width
    child_at = (places - width).clamp(min=0)
    origin = torch.where(was_done, places, child_at // children)
    token = torch.where(was_done, PAD, child_token.flatten(1).gather(1, child_at))
    tokens = beam.tokens.gather(1, origin[..., None].expand(-1, -1, trie.width))
    tokens[..., step] = torch.where(was_done, tokens[..., step], token)
    node = beam.node.gather(1, origin)
    if child_node is None:
        node = torch.where(was_done, node, trie.step(node, token, step))
    else:
        node = torch.where(was_done, node, child_node.flatten(1).gather(1, child_at))

    goes_on = ~was_done & ~trie.is_item(node) & (keys > -INF) & (step + 1 < trie.width)
    return Beam(scores, keys, tokens, node, beam.slot.gather(1, origin), goes_on), discarded


def packed(beam: Beam, step: int) -> tuple[Tensor, Tensor] | None:
    """The open hypotheses, packed to the left; padding repeats the first."""
    if not beam.open.any():
        return None
    places = torch.argsort(~beam.open, dim=1, stable=True)[:, : int(beam.open.sum(1).max())]
    live = beam.open.gather(1, places)
    places = torch.where(live, places, places[:, :1])
    tokens = beam.tokens[..., step].gather(1, places).long()
    parents = beam.slot.gather(1, places)
    beam.slot = torch.where(beam.open, beam.open.cumsum(1) - 1, 0)
    # a user without open hypotheses repeats a finished one: any token will do, since nobody reads the answer
    return tokens.clamp(min=0), parents


def to_generations(searched: Searched, beams: int) -> Generations:
    """To NumPy, padded to `beams` places, ties by item number. Diverged if scores are NaN."""
    score, items, tokens, bound = (part.cpu().numpy() for part in searched)
    if np.isnan(score).any():
        raise Diverged(NAN_SCORES)

    items = np.where(np.isneginf(score), NO_HYPOTHESIS, items).astype(np.int32)
    order = np.lexsort((items, -score))
    score, items = np.take_along_axis(score, order, 1), np.take_along_axis(items, order, 1)
    tokens = np.take_along_axis(tokens, order[..., None], 1)
    tokens[items == NO_HYPOTHESIS] = PAD

    pad = ((0, 0), (0, beams - score.shape[1]))
    return Generations(
        np.pad(tokens, (*pad, (0, 0)), constant_values=PAD),
        np.pad(score, pad, constant_values=-np.inf),
        np.pad(items, pad, constant_values=NO_HYPOTHESIS),
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
    column = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    out[rows, column] = places
    return out
