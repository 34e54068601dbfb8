"""The bench's scores of the bridge's lists equal those of RecBole's evaluator on its own ranking (protocol P16).

RecBole masks the training items of a user for general models, and nothing for sequential ones.
"""

import json
import subprocess
import sys

import numpy as np
import pytest
from genrec_baselines import models, process

from genrec_bench.api import load_dataset, score, split_data, train_view


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cls", "options"),
    [
        (models.BPR, {"epochs": 1, "learning_rate": 0.02}),
        (models.GRU4Rec, {"epochs": 1, "time_limit": 25, "learning_rate": 0.01, "extra": "hidden_size=32"}),
    ],
)
def test_our_scorer_agrees_with_recboles_evaluator(make, ctx, tmp_path, cls, options):
    data, split = split_data(load_dataset("ml-100k"))
    train, queries = train_view(data, split), split.queries(split.test)
    trained = make(cls, **options)
    trained.fit(train, ctx)
    sequential = cls.tasks == ("sequential",)
    # RecBole masks what its `Sampler` has used: for a general model, the user's training and validation items
    exclude = None if sequential else queries.history
    ranking = trained.rank(queries, k=50, exclude=exclude)
    ours, _ = score(ranking, split.test.target)
    theirs = recboles_own(trained, train, split, sequential, tmp_path)
    assert ours["tie_gap"] == 0
    for name in ("hit", "ndcg", "mrr"):
        for k in (5, 10, 20):
            assert ours[f"{name}@{k}"] == pytest.approx(theirs[f"{name}@{k}"], abs=1e-6)
    assert ours["hit@20"] > 0.02


def recboles_own(trained, train, split, sequential, folder):
    """RecBole's metrics of the weights in the worker's folder, from a separate process."""
    (checkpoint,) = (trained._worker.folder / "saved").glob("*.pth")
    cases = {}
    for name, held_out in (("valid", split.validation), ("test", split.test)):
        queries = split.queries(held_out)
        cases[name] = [
            (int(user), history.tolist(), int(target))
            for user, history, target in zip(queries.user, queries.history, held_out.target, strict=True)
        ]
    job = {
        "worker": str(process.CODE), "train": str(trained._worker.folder / "train.npz"), "n_items": train.n_items,
        "sequential": sequential, "model": trained.model, "parameters": trained.parameters(train)[0],
        "checkpoint": str(checkpoint), "tokens": tokens(train, sequential), **cases,
    }  # fmt: skip
    (folder / "job.json").write_text(json.dumps(job))
    program = str(process.CODE.parents[1] / "tests" / "recbole_own.py")
    done = subprocess.run(
        [sys.executable, program, str(folder / "job.json")], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def tokens(train, sequential):
    """RecBole's numbering in the worker: in order of appearance among targets or interactions, then the whole catalogue."""
    sequences = train.sequences
    position = np.arange(len(sequences.values)) - np.repeat(sequences.offsets[:-1], sequences.lengths)
    rows = position > 0 if sequential else position >= 0
    first = {
        "item_id": [*sequences.values[rows].tolist(), *range(train.n_items)],
        "user_id": [*sequences.rows[rows].tolist(), *range(train.n_users)],
    }
    return {field: ["[PAD]", *dict.fromkeys(map(str, numbers))] for field, numbers in first.items()}
