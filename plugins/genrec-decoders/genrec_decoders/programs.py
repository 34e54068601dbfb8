"""The trie's beam search in fixed shapes, which a GPU captures once as a CUDA graph and then replays without the host.

A search of a small batch is some thousand small kernels, and launching them takes longer than running them. A program is
one search of a bucket: so many users, source tokens, beams and excluded leaves, each rounded up, all hypotheses called at
every step. Its inputs are copied into buffers of its own, and its results are copied out, cut to the batch. Without a GPU
the same program runs operation by operation, so that everything but the capture itself runs, and is tested, anywhere.
The first lists of every program are compared with those of the search step by step. Knows no indexes and no options.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor

from genrec_bench.api import (
    Beam,
    FixedShapes,
    Generations,
    GenrecError,
    Int32,
    Normalisation,
    Ragged,
    Searched,
    Sources,
    Trie,
    beam_search,
    excluded_leaves,
    extend,
    to_generations,
    walk,
)

MOST = 16  # programs kept: each keeps the memory of its whole search
LENGTHS = 16  # source tokens are rounded up to a multiple of this
LEAST_EXCLUDED = (
    64  # excluded leaves are rounded up to a power of two, from here: one more program costs more than looking them up
)
WARMUPS = 3  # searches before a capture, as many as in PyTorch's own recipe

Run = Callable[[], Searched]
Capture = Callable[[Run], Run]  # gives what runs again as `run` would, into the tensors of the first result


class CaptureFailed(GenrecError):
    """A search could not be captured on this device."""


@dataclass(frozen=True)
class Bucket:
    """The shapes of a program. `excluded` 0: no item is left out."""

    users: int
    length: int  # source tokens
    beams: int
    excluded: int  # leaves per user
    normalisation: Normalisation = "alphabet"

    @classmethod
    def of(cls, batch: Sources, beams: int, leaves: Int32 | None, normalisation: Normalisation = "alphabet") -> Bucket:
        """The smallest that holds the batch and its excluded `leaves` (U, X)."""
        length = max(1, int(batch.lengths.max(initial=0)))
        return cls(
            _power_of_two(len(batch)),
            -(-length // LENGTHS) * LENGTHS,
            beams,
            0 if leaves is None else max(LEAST_EXCLUDED, _power_of_two(leaves.shape[1])),
            normalisation,
        )

    def inputs(self, backbone: FixedShapes, batch: Sources, leaves: Int32 | None, trie: Trie) -> list[Tensor]:
        """The batch in these shapes, on the CPU: the excluded leaves if there are any, then the backbone's tensors."""
        padded = backbone.pad(batch, self.users, self.length)
        if leaves is None:
            return [*padded]
        wide = np.full((self.users, self.excluded), trie.n_items, np.int32)
        wide[: len(leaves), : leaves.shape[1]] = leaves
        return [torch.from_numpy(wide), *padded]


class Program:
    """One bucket's search over buffers of its own. Called with other inputs of the same shapes, it searches those."""

    def __init__(
        self,
        bucket: Bucket,
        backbone: Any,
        trie: Trie,
        inputs: Sequence[Tensor],
        capture: Capture,
    ) -> None:
        self.inputs = [torch.empty_like(value, device=trie.device).copy_(value) for value in inputs]

        def run() -> Searched:
            buffers = iter(self.inputs)
            excluded = next(buffers) if bucket.excluded else None
            state = backbone.start_padded(*buffers)
            shape, how = (bucket.users, bucket.beams), (every_beam, extend, bucket.normalisation)
            return walk(backbone, state, trie, *shape, excluded, *how, fixed=True)

        with torch.no_grad(), torch.cuda.device_of(trie.token):
            self.replay = capture(run)

    @torch.no_grad()
    def __call__(self, inputs: Sequence[Tensor], users: int) -> Searched:
        """What the first `users` of these inputs find, in memory that no later call touches."""
        for buffer, value in zip(self.inputs, inputs, strict=True):
            buffer.copy_(value)
        key, items, tokens, bound = (part[:users].clone() for part in self.replay())
        return key, items, tokens, bound


class Programs:
    """A decoder's programs by bucket, the last used `most` of them, for one trie and one backbone's weights at a time.

    `capture` replaces the one that suits the device: `cuda_graph` on a GPU, else `eager`.
    """

    def __init__(self, capture: Capture | None = None, most: int = MOST) -> None:
        self.capture, self.most = capture, most
        self.kept: dict[Bucket, Program] = {}  # the last used one last
        self.broken = ""  # why a capture failed: there will be no other
        self._of: tuple[object, Trie] | None = None  # the network and the trie that the programs search

    def search(
        self,
        backbone: Any,
        batch: Sources,
        trie: Trie,
        *,
        beams: int,
        exclude: Ragged | None = None,
        normalisation: Normalisation | None = None,
    ) -> Generations:
        """The lists of `beam_search` over the trie. CaptureFailed if this bucket cannot be captured."""
        normalised = normalisation or backbone.normalisation
        leaves = None if exclude is None else excluded_leaves(trie, exclude)
        bucket = Bucket.of(batch, beams, leaves, normalised)
        inputs = bucket.inputs(backbone, batch, leaves, trie)
        if self._of is None or self._of[0] is not backbone.network or self._of[1] is not trie:
            self.kept.clear()
            self._of = backbone.network, trie

        if program := self.kept.pop(bucket, None):
            self.kept[bucket] = program
            return to_generations(program(inputs, len(batch)), beams)

        program = self._captured(bucket, backbone, trie, inputs)
        generations = to_generations(program(inputs, len(batch)), beams)
        plain = beam_search(backbone, batch, trie, beams=beams, free=False, exclude=exclude, normalisation=normalised)
        if not agree(generations, plain, trie.device):
            self._give_up("its lists are not those of a search step by step")
        self.kept[bucket] = program
        return generations

    def _captured(self, bucket: Bucket, backbone: Any, trie: Trie, inputs: Sequence[Tensor]) -> Program:
        while len(self.kept) >= self.most:
            del self.kept[next(iter(self.kept))]
        capture = self.capture or (cuda_graph if trie.device.type == "cuda" else eager)
        try:
            return Program(bucket, backbone, trie, inputs, capture)
        except Exception as error:  # an operation that waits for the host, too little memory: many ways, one answer
            self._give_up((str(error).strip() or type(error).__name__).splitlines()[0], error)

    def _give_up(self, why: str, error: Exception | None = None) -> NoReturn:
        self.kept.clear()
        self.broken = f"a search cannot be captured here ({why}): decoding goes step by step"
        raise CaptureFailed(self.broken) from error


def agree(generations: Generations, plain: Generations, device: torch.device) -> bool:
    """Whether both searches found equally good lists, place by place. Fixed shapes round in another way, so that items
    with nearly equal scores may change places."""
    relative, absolute = (2e-2, 0.1) if torch.is_autocast_enabled(device.type) else (1e-5, 1e-3)
    return np.allclose(generations.scores, plain.scores, rtol=relative, atol=absolute)


def every_beam(beam: Beam, step: int) -> tuple[Tensor, Tensor]:
    """All hypotheses in their places, finished ones too: nobody reads their answers."""
    tokens, parents = beam.tokens[..., step].clamp(min=0).long(), beam.slot
    beam.slot = torch.arange(tokens.shape[1], device=tokens.device).expand_as(tokens)
    return tokens, parents


def eager(run: Run) -> Run:
    """No capture: `run` again at every call. Its result stays in the same tensors, as a graph's does."""
    result = run()

    def again() -> Searched:
        for own, new in zip(result, run(), strict=True):
            own.copy_(new)
        return result

    return again


def cuda_graph(run: Run) -> Run:
    """`run` as a CUDA graph: warmed up on a side stream, then captured (PyTorch, "CUDA semantics", CUDA graphs)."""
    here = torch.cuda.current_stream()
    with torch.cuda.stream(here):  # a failed capture may leave another stream current: this one comes back
        side = torch.cuda.Stream()
        side.wait_stream(here)
        with torch.cuda.stream(side):
            for _ in range(WARMUPS):
                run()
        here.wait_stream(side)

        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=side):
            result = run()

    def replay() -> Searched:
        graph.replay()
        return result

    return replay


def _power_of_two(number: int) -> int:
    return 1 << max(0, number - 1).bit_length()
