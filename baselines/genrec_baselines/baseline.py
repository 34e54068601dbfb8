"""A RecBole model as a baseline: a worker process trains it on the training part and answers with ranked lists.

Never imports RecBole. The worker sees training sequences and queries. Validation targets stay with the caller, whose
`ctx.validate()` scores the model after every epoch; test targets are not involved.
"""

from __future__ import annotations

import ast
import os
import sys
import time
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

import numpy as np
from pydantic import NonNegativeInt, PositiveFloat, PositiveInt, model_validator
from pydantic.dataclasses import dataclass

from genrec_baselines import settings
from genrec_baselines.process import RecBoleWorker
from genrec_baselines.requirements import locate, parameters_of
from genrec_bench.api import (
    Baseline,
    BaselineContext,
    ConfigError,
    DeviceMissing,
    Float32,
    NeedsMissing,
    Queries,
    Ragged,
    Ranking,
    TrainView,
    did_you_mean,
    expand_home,
)

GRACE = 120.0  # seconds beyond `time_limit` for start-up, files and one last epoch; then the worker counts as hung
ANSWER = 600.0  # seconds for one batch of lists at most; less where `time_limit` and GRACE are less
SEEDS = 2**32  # as many as NumPy's global generator, which RecBole seeds, can take
SET_BY_BRIDGE = frozenset(  # another value would be another experiment, or break the bridge
    [
        "alias_of_item_id",
        "benchmark_filename",
        "checkpoint_dir",
        "data_path",
        "eval_args",
        "gpu_id",
        "load_col",
        "metrics",
        "repeatable",
        "seed",
        "show_progress",
        "topk",
        "valid_metric",
        "train_stage",
        "pre_model_path",
        "save_step",
    ]
)


@dataclass(frozen=True)
class Config:
    """Options of every RecBole model. An option that is not given comes from `settings`, and else from RecBole."""

    epochs: PositiveInt | None = None  # passes over the training part, at most
    stopping_step: NonNegativeInt | None = None  # validations without progress before training stops
    learning_rate: PositiveFloat | None = None  # of Adam
    embedding_size: PositiveInt | None = None  # numbers per user and item
    train_batch_size: PositiveInt | None = None  # training examples per step
    time_limit: PositiveFloat = 3600.0  # seconds of training; the best weights so far are kept, marked not converged
    memory_limit_mb: PositiveInt | None = None  # of the worker process, in MB (10^6 bytes); beyond it the run fails
    python: str | None = None  # interpreter that has RecBole; none: the one that runs this
    settings: Literal["auto", "none"] = "auto"  # parameters kept for known data sets, or RecBole's own defaults
    extra: tuple[str, ...] = ()  # any RecBole parameters, name=value,name=value

    @model_validator(mode="after")
    def _extra_is_understood(self) -> Self:
        parse_extra(self.extra)
        return self


class RecBoleBaseline(Baseline):
    """One of RecBole 1.2.1's models; subclasses name it.

    `sizes` are the parameters that `embedding_size` sets, `fixed` those that make the model what its name says.
    `samples_unseen` says whether its training draws items that a user has not seen; `item_table` names the embedding that
    is an item's vector, if there is one.
    """

    Config = Config
    contract = 1
    uses_gpu = True
    search_space: ClassVar[Mapping[str, Any]] = {
        "learning_rate": (1e-4, 1e-2, "log"),
        "embedding_size": [32, 64, 128],
        "train_batch_size": [512, 1024, 2048, 4096],
    }
    model: ClassVar[str]
    sizes: ClassVar[tuple[str, ...]] = ()
    fixed: ClassVar[Mapping[str, Any]] = {}
    samples_unseen: ClassVar[bool] = False
    item_table: ClassVar[str] = ""

    @property
    def python(self) -> str | None:
        """The interpreter that has RecBole; None for the one that runs this."""
        return None if self.config.python is None else expand_home(self.config.python)

    def ready(self) -> None:
        """NeedsMissing unless RecBole is installed; ConfigError for an option that the model does not have."""
        known = parameters_of(self.model, locate(self.python)) - SET_BY_BRIDGE
        for key in parse_extra(self.config.extra):
            if key in SET_BY_BRIDGE or key in self.fixed:
                raise ConfigError(f"baseline.extra: {key!r} is set by the bridge", part="baseline", key="extra")
            if key not in known:
                raise ConfigError(
                    f"baseline.extra: RecBole's {self.model} has no parameter {key!r}.{did_you_mean(key, known)}",
                    part="baseline",
                    key="extra",
                )

        if self.config.embedding_size is not None and not self.sizes:
            raise ConfigError(
                f"baseline.embedding_size: {self.model} has no embeddings", part="baseline", key="embedding_size"
            )

    def fingerprint(self) -> str:
        """SHA-256 of what the settings files say about the model: other settings are another run."""
        if self.config.settings == "none":
            return ""
        return settings.fingerprint(self.name_in_settings(), sequential="sequential" in self.tasks)

    def fit(self, train: TrainView, ctx: BaselineContext) -> None:
        """Train in a worker process, which then answers `rank`. Keeps the best epoch by `ctx.validate()`.

        NeedsMissing if the data has nothing to learn from; WorkerFailed if the worker dies, fails or exceeds a limit.
        """
        self.ready()
        self._check(train)
        parameters, source = self.parameters(train)
        gpu = visible_gpu(ctx.device)

        interpreter = self.python or sys.executable
        self._worker = RecBoleWorker(interpreter, self.model, self.config.memory_limit_mb, ctx.folder)
        self._requests = 0
        try:
            facts = self._train(train, ctx, parameters, gpu)
        except BaseException:
            self._worker.close()
            raise

        environment, settings_used = facts.pop("surroundings"), facts.pop("settings")
        recbole = {**environment, "model": self.model, "source": source, "settings": settings_used}
        self._facts = {**facts, "precision": "fp32", "recbole": recbole}

    def facts(self) -> Mapping[str, Any]:
        """Epochs and validation scores, how training ended, RecBole's parameters with their source, and the patches."""
        return self._facts

    def rank(self, queries: Queries, *, k: int, exclude: Ragged | None = None) -> Ranking:
        """The `k` best items by the model's own scores; equal scores by item number.

        A sequential model gives a user without history an empty list.
        """
        if not len(queries):
            return Ranking(np.zeros((0, 0), np.int32), np.zeros((0, 0), np.float32), depth=k)
        number, self._requests = self._requests, self._requests + 1
        request, answer = self._worker.folder / f"queries-{number}.npz", self._worker.folder / f"lists-{number}.npz"

        arrays = {"user": queries.user, "history": queries.history.values, "offsets": queries.history.offsets}
        if exclude is not None:
            arrays |= {"exclude": exclude.values, "exclude_offsets": exclude.offsets}
        np.savez(request, **arrays)
        self._worker.send({"queries": str(request), "k": k, "into": str(answer)})
        self._worker.answer(time.monotonic() + min(ANSWER, self.config.time_limit + GRACE), "end ranking")

        with np.load(answer) as lists:
            ranking = Ranking(lists["items"], lists["scores"], depth=k)
        request.unlink()
        answer.unlink()
        return ranking

    def item_vectors(self) -> Float32:
        """The item embeddings `(n_items, d)` of the trained model. NeedsMissing if the model has none that are its own."""
        if not self.item_table:
            return super().item_vectors()
        answer = self._worker.folder / "vectors.npy"
        self._worker.send({"vectors": self.item_table, "into": str(answer)})
        self._worker.answer(time.monotonic() + ANSWER, "give its vectors")
        vectors: Float32 = np.load(answer)
        return vectors

    def parameters(self, train: TrainView) -> tuple[dict[str, Any], str]:
        """RecBole's parameters for this training part, besides its own defaults, and where they come from."""
        kept, source = settings.settings_for(self.name_in_settings(), train, sequential="sequential" in self.tasks)
        if self.config.settings == "none":
            kept, source = {}, settings.DEFAULTS

        names = ("epochs", "stopping_step", "learning_rate", "train_batch_size")
        given = {name: value for name in names if (value := getattr(self.config, name)) is not None}
        if self.config.embedding_size is not None:
            given |= dict.fromkeys(self.sizes, self.config.embedding_size)
        given |= parse_extra(self.config.extra)
        return {**kept, **given, **self.fixed}, source + (f"; given: {', '.join(sorted(given))}" if given else "")

    @classmethod
    def name_in_settings(cls) -> str:
        """The name of this model's table in the settings files: the class's name in lower case."""
        return cls.__name__.lower()

    def _check(self, train: TrainView) -> None:
        """NeedsMissing for data that RecBole cannot train this model on."""
        lengths = train.sequences.lengths
        if "sequential" in self.tasks and int(lengths.max(initial=0)) < 2:
            raise NeedsMissing(
                f"{self.model} learns steps from one item to the next, and no user has two training items: use a direct "
                "baseline, or data with longer histories",
                needs="a user with two training items",
            )

        if self.samples_unseen:
            pairs = np.unique(train.sequences.rows * train.n_items + train.sequences.values)
            seen = np.bincount(pairs // train.n_items)
            if int(seen.max(initial=0)) >= train.n_items:
                raise NeedsMissing(
                    f"RecBole draws items that a user has not seen, and user {int(seen.argmax())} has seen all "
                    f"{train.n_items}: {self.model} needs a larger catalogue",
                    needs="a catalogue that no user has seen all of",
                )

    def _train(
        self,
        train: TrainView,
        ctx: BaselineContext,
        parameters: Mapping[str, Any],
        gpu: str,
    ) -> dict[str, Any]:
        """Send the job, answer the worker's requests for validation, and return its facts."""
        worker, limit = self._worker, self.config.time_limit
        arrays = {"values": train.sequences.values, "offsets": train.sequences.offsets}
        if "item_features" in self.needs and train.item_features is not None:
            arrays |= {"features": train.item_features.values, "feature_offsets": train.item_features.offsets}
        np.savez(worker.folder / "train.npz", **arrays)
        worker.send(
            {
                "model": self.model,
                "sequential": "sequential" in self.tasks,
                "parameters": parameters,
                "train": "train.npz",
                "n_items": train.n_items,
                "seed": ctx.seed % SEEDS,
                "gpu": gpu,
                "time_limit": limit,
                "validate": ctx.validate is not None,
            }
        )

        until, counts = time.monotonic() + limit + GRACE, {}
        with ctx.progress.phase(f"training {self.model}", None, "epochs") as tick:
            while "done" not in (message := worker.answer(until, "end training")):
                counts = message.get("parameters", counts)
                if "batch" in message:
                    tick(0, f"batch {message['batch']} of {message['batches']}")
                elif "loss" in message:
                    tick(1, f"loss {message['loss']:.4f}")
                elif "validate" in message:
                    began = time.monotonic()
                    score = ctx.validate() if ctx.validate is not None else 0.0
                    until += time.monotonic() - began  # the limit is for training alone
                    tick(0, f"ndcg@10 {score:.4f}")
                    worker.send({"score": score})
        return {**message["done"], "parameters": counts}


def parse_extra(extra: tuple[str, ...]) -> dict[str, Any]:
    """RecBole's parameters from `name=value` texts; one without `=` continues the value before it, as in `[64,32]`."""
    joined: list[str] = []
    for part in extra:
        if "=" in part:
            joined.append(part)
        elif joined:
            joined[-1] += f",{part}"
        else:
            raise ValueError(f"extra = {part!r}: expected name=value")
    return {key.strip(): _value(text.strip()) for key, _, text in (part.partition("=") for part in joined)}


def _value(text: str) -> Any:
    """A parameter's value: true, false, none, a Python literal, or the text itself."""
    words = {"true": True, "false": False, "none": None}
    if text.lower() in words:
        return words[text.lower()]
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def visible_gpu(device: str) -> str:
    """The GPU as RecBole names it: an entry of CUDA_VISIBLE_DEVICES; empty for the CPU."""
    kind, _, number = device.partition(":")
    if kind == "cpu":
        return ""
    if kind != "cuda":
        raise DeviceMissing(f"RecBole runs on cpu and cuda, not on {device!r}: use --device cpu", device=device)
    visible = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    index = int(number or 0)
    return visible[index] if index < len(visible) else str(index)
