"""Ranked lists from a trained RecBole model: any user, any history, the full catalogue, in the bench's item numbers."""

import numpy as np
import torch
from recbole.data.interaction import Interaction

ROWS = 256  # queries scored at once
PAIRS = 2**17  # (user, item) pairs scored at once, by models that score single pairs
PAD = -1


class Ranker:
    """Answers the host's queries. A sequential model gives a query without history an empty list."""

    def __init__(self, config, model, dataset, n_users, n_items, sequential):
        self.model, self.device, self.sequential = model, config["device"], sequential
        self.longest = config["MAX_ITEM_LIST_LENGTH"]
        self.users = np.asarray(dataset.token2id("user_id", [str(user) for user in range(n_users)]))
        self.items = np.asarray(dataset.token2id("item_id", [str(item) for item in range(n_items)]))
        self.n_inside = dataset.item_num

    @torch.no_grad()
    def answer(self, request):
        """Read the file of queries and write the file of lists that `request` names; or write the items' vectors."""
        if "vectors" in request:
            table = getattr(self.model, request["vectors"]).weight
            np.save(request["into"], table.float().cpu().numpy()[self.items])
            return
        with np.load(request["queries"]) as file:
            queries = {name: file[name] for name in file.files}
        self.model.eval()
        starts = range(0, len(queries["user"]), ROWS)
        parts = [self._rank(queries, slice(start, start + ROWS), request["k"]) for start in starts]
        items, scores = (np.concatenate(blocks) for blocks in zip(*parts, strict=True))
        np.savez(request["into"], items=items, scores=scores)

    def _rank(self, queries, rows, k):
        """Items and scores of the queries in `rows`."""
        users = queries["user"][rows]
        lengths = np.minimum(np.diff(queries["offsets"])[rows], self.longest)
        known = lengths > 0 if self.sequential else np.ones(len(users), bool)
        scores = np.full((len(users), len(self.items)), -np.inf, np.float32)
        if known.any():
            scores[known] = self._score(users[known], self._histories(queries, rows, lengths)[known], lengths[known])
        if np.isnan(scores).any():
            raise FloatingPointError("the model's scores are NaN")

        if "exclude" in queries:
            starts = queries["exclude_offsets"]
            counts = np.diff(starts)[rows]
            first = starts[rows.start]
            excluded = queries["exclude"][first : first + counts.sum()]
            scores[np.repeat(np.arange(len(users)), counts), excluded] = -np.inf
        return best(scores, k)

    def _histories(self, queries, rows, lengths):
        """The last items of each query in RecBole's numbers, `(n, longest)`, padded with 0 on the right."""
        padded = np.zeros((len(lengths), self.longest), np.int64)
        for row, (end, length) in enumerate(zip(queries["offsets"][1:][rows], lengths, strict=True)):
            padded[row, :length] = self.items[queries["history"][end - length : end]]
        return padded

    def _score(self, users, histories, lengths):
        """Scores `(n, items)` in the bench's item numbers."""
        query = {"user_id": torch.as_tensor(self.users[users])}
        if self.sequential:
            query |= {"item_id_list": torch.as_tensor(histories), "item_length": torch.as_tensor(lengths)}
        query = Interaction(query).to(self.device)
        try:
            scores = self.model.full_sort_predict(query)
        except NotImplementedError:
            scores = self._one_by_one(query)
        scores = scores.view(len(users), -1)[:, : self.n_inside]  # a mask token may follow the items
        return scores.float().cpu().numpy()[:, self.items]

    def _one_by_one(self, query):
        """Scores of all pairs, for models that score single pairs only."""
        users, parts = query["user_id"], []
        every = torch.arange(self.n_inside, device=self.device)
        step = max(1, PAIRS // self.n_inside)
        for start in range(0, len(users), step):
            part = users[start : start + step]
            pairs = {"user_id": part.repeat_interleave(self.n_inside), "item_id": every.repeat(len(part))}
            parts.append(self.model.predict(Interaction(pairs)).view(len(part), -1))
        return torch.cat(parts)


def best(scores, k):
    """The `k` best of each row: items and scores `(n, length)`. Equal scores by item number; -inf is left out."""
    n_items = scores.shape[1]
    length = min(k, n_items)
    kth = np.partition(scores, n_items - length, axis=1)[:, n_items - length]
    rows, items = np.nonzero((scores >= kth[:, None]) & ~np.isneginf(scores))  # includes all that tie with the k-th
    values = scores[rows, items]

    order = np.lexsort((items, -values, rows))
    rows, items, values = rows[order], items[order], values[order]
    position = np.arange(len(rows)) - np.searchsorted(rows, rows)
    kept = position < length

    listed = np.full((len(scores), length), PAD, np.int32)
    listed_scores = np.full((len(scores), length), -np.inf, np.float32)
    listed[rows[kept], position[kept]] = items[kept]
    listed_scores[rows[kept], position[kept]] = values[kept]
    return listed, listed_scores
