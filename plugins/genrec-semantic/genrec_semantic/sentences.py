"""Item titles through a sentence encoder (package sentence-transformers), from a local folder or the model hub.

Knows texts and vectors only. Downloads nothing if the model is a local folder.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from genrec_bench.api import Float32, IndexerContext, NeedsMissing, TrainView, UsageError, expand_home, load_whole
from genrec_semantic.content import versions
from genrec_semantic.options import ContentConfig

CHUNK = 256  # titles between two ticks of the progress bar


def sentence_vectors(train: TrainView, config: ContentConfig, ctx: IndexerContext) -> tuple[Float32, dict[str, Any]]:
    """`(n_items, d)`, with zero rows for blank titles; equal titles are encoded once and get equal vectors.

    The last bits of a network's output may depend on threads and device, and codes with them. To pin codes, keep the
    vectors in a file and use encoder=array.
    """
    if train.item_titles is None:
        raise NeedsMissing(
            "encoder=sentence-transformers reads item titles, which this data set does not have: use encoder=tfidf for "
            "attributes, or encoder=array",
            needs=frozenset({"item_titles"}),
        )

    model = load_model(expand_home(config.model), ctx.device, ctx.progress.note)
    texts, which = np.unique(train.item_titles, return_inverse=True)
    parts = []
    with ctx.progress.phase("encoding titles", len(texts), "titles") as tick:
        for start in range(0, len(texts), CHUNK):
            chunk = texts[start : start + CHUNK].tolist()
            parts.append(np.asarray(model.encode(chunk, show_progress_bar=False), np.float32))
            tick(len(chunk))

    vectors = np.concatenate(parts)
    if not np.isfinite(vectors).all():
        raise UsageError(f"model {config.model!r} gives vectors with NaN or infinity: choose another model")
    vectors[[not text.strip() for text in texts.tolist()]] = 0
    facts = {
        "fields": "titles",
        "model": config.model,
        "model_revision": _revision(model),
        "versions": versions("sentence-transformers", "transformers", "torch"),
    }
    return vectors[which.reshape(-1)], facts


def load_model(name: str, device: str, note: Callable[[str], None]) -> Any:
    """A SentenceTransformer. NeedsMissing without the package, UsageError if there is no such model or it lacks weights.

    `note` is told what was mended in its checkpoint.
    """
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise NeedsMissing(
            f"encoder=sentence-transformers needs its package, which cannot be imported ({error}): "
            "pip install 'genrec-semantic[text]', or use encoder=tfidf",
            needs="sentence-transformers",
        ) from error

    try:
        model = SentenceTransformer(name, device=device)
        for encoder in (getattr(module, "auto_model", None) for module in model):
            if encoder is not None:  # the package draws missing weights at random, without a word
                whole = load_whole(type(encoder), encoder.config._name_or_path, note, body=True)
                encoder.load_state_dict(whole.state_dict())
        return model
    except UsageError:
        raise
    except Exception as error:
        what = "cannot be read" if Path(name).is_dir() else "is not a folder here and cannot be downloaded"
        raise UsageError(
            f"model {name!r} {what}: give the folder of a SentenceTransformer, or use encoder=tfidf", model=name
        ) from error


def _revision(model: Any) -> str | None:
    """The commit of a model from the hub, if it is known."""
    try:
        return getattr(model[0].auto_model.config, "_commit_hash", None)
    except (AttributeError, IndexError):
        return None
