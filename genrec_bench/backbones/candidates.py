"""Logits of some tokens only: those that can come next, which differ from hypothesis to hypothesis.

With one token per node of the catalogue's tree the alphabet is as large as the catalogue, while a node has some dozens of
children. Hypotheses at one node share its children, so their logits are one small product. Knows tensors, no network.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from genrec_bench.backbones.kernels import by_hand, rows_of
from genrec_bench.errors import UsageError
from genrec_bench.host.contracts import Candidates

SMALL = 8  # alphabets of up to so many times the candidates are scored whole: one product beats many small ones
BUCKETS = (1, 4, 16, 64)  # groups of hypotheses are padded to the largest of a bucket: these sizes end one


def candidate_logits(hidden: Tensor, table: Tensor, candidates: Candidates) -> Tensor:
    """Hidden states (users, beams, E) against the candidates' rows of `table` (V, E): (users, beams, C).

    UsageError if a candidate is no row of the table, on a CPU; a GPU does not look.
    """
    tokens = candidates.tokens
    if tokens.device.type == "cpu" and tokens.numel() and int(tokens.max()) >= len(table):
        raise UsageError(
            f"the codes use {int(tokens.max()) + 1:,} tokens or more and the backbone scores {len(table):,}: it was "
            "trained for another index"
        )

    if len(table) <= SMALL * tokens.shape[1]:
        return candidates.of(F.linear(hidden, table.to(hidden.dtype)))
    flat = row_logits(hidden.flatten(0, 1), table, tokens, candidates.which.flatten())
    return flat.view(*hidden.shape[:2], -1)


def row_logits(hidden: Tensor, table: Tensor, tokens: Tensor, which: Tensor) -> Tensor:
    """Hidden states (N, E) against the rows `tokens[which]` of `table` (V, E): (N, C). `tokens` (M, C), `which` (N,)."""
    if len(table) <= SMALL * tokens.shape[1]:
        return F.linear(hidden, table.to(hidden.dtype)).gather(1, tokens[which])
    if not by_hand(hidden) or len(tokens) >= len(which):
        return torch.bmm(rows_of(table, tokens[which]).to(hidden.dtype), hidden[..., None]).squeeze(-1)

    counts = which.bincount(minlength=len(tokens))
    order = which.argsort(stable=True)
    starts = counts.cumsum(0) - counts  # in `order`
    sizes = torch.bucketize(counts, torch.tensor(BUCKETS, device=counts.device))

    # Hypotheses are laid out bucket by bucket and group by group, padded: one gather each of hidden states and of rows.
    groups_of, rows_of_bucket, filled = [], [], 0
    place = torch.empty_like(which)  # of each hypothesis in that layout
    for size in sizes[counts > 0].unique().tolist():
        groups = torch.nonzero((sizes == size) & (counts > 0))[:, 0]
        at = torch.arange(int(counts[groups].max()), device=which.device)
        there = at < counts[groups, None]  # (groups, most)
        rows = order[(starts[groups, None] + at).clamp(max=len(order) - 1)]

        place[rows[there]] = filled + torch.nonzero(there.flatten())[:, 0]
        groups_of.append(groups)
        rows_of_bucket.append(rows)
        filled += rows.numel()

    own = rows_of(table, tokens[torch.cat(groups_of)]).to(hidden.dtype).split([len(groups) for groups in groups_of])
    taken = rows_of(hidden, torch.cat([rows.flatten() for rows in rows_of_bucket]))
    taken = taken.split([rows.numel() for rows in rows_of_bucket])
    products = [
        torch.bmm(states.view(*rows.shape, -1), weights.transpose(1, 2)).flatten(0, 1)  # (groups * most, C)
        for states, rows, weights in zip(taken, rows_of_bucket, own, strict=True)
    ]
    return rows_of(torch.cat(products), place)
