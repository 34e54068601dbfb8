"""Ranked lists from a trained RecBole model: any user, any history, full catalogue, in our item numbers."""

import numpy as np
import torch
from recbole.data.interaction import Interaction

ROWS = 256  # queries scored at once
PAIRS = 2**17  # (user, item) pairs scored at once, for models that score one by one
PAD = -1


class Ranker:
    """Answers the host's queries. A query without history gets an empty list from a model that reads histories."""

    def __init__(self, config, model, dataset, n_users, n_items, sequential):
        self.model, self.device, self.sequential = model, config["device"], sequential
        self.longest = config["MAX_ITEM_LIST_LENGTH"]
        self.users = np.asarray(dataset.token2id("user_id", [str(user) for user in range(n_users)]))
        self.items = np.asarray(dataset.token2id("item_id", [str(item) for item in range(n_items)]))
        self.n_inside = dataset.item_num

    @torch.no_grad()
    def answer(self, request):
        """Read the queries' file and write the lists' file that `request` names."""
        with np.load(request["queries"]) as found:
            asked = {name: found[name] for name in found.files}
        self.model.eval()
        parts = [self._rank(asked, slice(at, at + ROWS), request["k"]) for at in range(0, len(asked["user"]), ROWS)]
        items, scores = (np.concatenate(each) for each in zip(*parts, strict=True))
        np.savez(request["into"], items=items, scores=scores)

    def _rank(self, asked, rows, k):
        users = asked["user"][rows]
        lengths = np.minimum(np.diff(asked["offsets"])[rows], self.longest)
        known = lengths > 0 if self.sequential else np.ones(len(users), bool)
        scores = np.full((len(users), len(self.items)), -np.inf, np.float32)
        if known.any():
            scores[known] = self._score(users[known], self._histories(asked, rows, lengths)[known], lengths[known])
        if np.isnan(scores).any():
            raise FloatingPointError("the model's scores are NaN")
        if "exclude" in asked:
            starts = asked["exclude_offsets"]
            out = np.diff(starts)[rows]
            first = starts[rows.start]
            scores[np.repeat(np.arange(len(users)), out), asked["exclude"][first : first + out.sum()]] = -np.inf
        return best(scores, k)

    def _histories(self, asked, rows, lengths):
        """The last items of each query in RecBole's numbers, `(n, longest)`, zeros on the right."""
        padded = np.zeros((len(lengths), self.longest), np.int64)
        for row, (end, length) in enumerate(zip(asked["offsets"][1:][rows], lengths, strict=True)):
            padded[row, :length] = self.items[asked["history"][end - length : end]]
        return padded

    def _score(self, users, histories, lengths):
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
        """Scores of all pairs, for models that predict single pairs only."""
        users, found = query["user_id"], []
        every = torch.arange(self.n_inside, device=self.device)
        step = max(1, PAIRS // self.n_inside)
        for at in range(0, len(users), step):
            part = users[at : at + step]
            pairs = {"user_id": part.repeat_interleave(self.n_inside), "item_id": every.repeat(len(part))}
            found.append(self.model.predict(Interaction(pairs)).view(len(part), -1))
        return torch.cat(found)


def best(scores, k):
    """The `k` best of each row: items and scores `(n, places)`, equal scores by item number, -inf left out."""
    n_items = scores.shape[1]
    places = min(k, n_items)
    least = np.partition(scores, n_items - places, axis=1)[:, n_items - places]
    rows, items = np.nonzero((scores >= least[:, None]) & ~np.isneginf(scores))
    found = scores[rows, items]
    order = np.lexsort((items, -found, rows))
    rows, items, found = rows[order], items[order], found[order]
    place = np.arange(len(rows)) - np.searchsorted(rows, rows)
    kept = place < places
    listed = np.full((len(scores), places), PAD, np.int32)
    values = np.full((len(scores), places), -np.inf, np.float32)
    listed[rows[kept], place[kept]], values[rows[kept], place[kept]] = items[kept], found[kept]
    return listed, values
