"""What a CUDA graph can hold: a search that never asks the host; and the capture itself, where there is a GPU."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from genrec_decoders import programs
from genrec_decoders.captured import CapturedTrieConfig, CapturedTrieDecoder
from genrec_decoders.programs import Bucket, Program, every_beam
from small_searches import INDEX, assert_same, batch_of, network
from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from genrec_bench.api import Ragged, Trie, TrieConfig, TrieDecoder


class OnItsDevice(TorchDispatchMode):
    """Refuses to make a tensor without saying where: it would lie on the host."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        made = str(func).split(".")[1] in ("arange", "zeros", "ones", "full", "empty", "scalar_tensor", "rand")
        assert not made or kwargs.get("device") is not None, f"{func} makes a tensor on the host"
        return func(*args, **kwargs)


def program(backbone, capture, excluded=64):
    """A program of the small catalogue, over empty inputs."""
    batch, trie = batch_of(3, 9), Trie.build(INDEX.items)
    leaves = np.zeros((3, 5), np.int32) if excluded else None
    bucket = Bucket.of(batch, 6, leaves)
    return Program(bucket, backbone, trie, bucket.inputs(backbone, batch, leaves, trie), capture)


@pytest.mark.parametrize("excluded", [0, 64])
def test_a_program_reads_no_value_back_and_takes_no_shape_from_one(excluded):
    def traced(run):
        with FakeTensorMode(allow_non_fake_inputs=True):
            key, items, tokens, bound = run()
        assert key.shape == items.shape == (4, 6) and tokens.shape == (4, 6, 4) and bound.shape == (4,)
        return run

    program(network(), traced, excluded)


def test_calls_that_ask_the_device_are_found_by_the_test_above(monkeypatch):
    def traced(run):
        with FakeTensorMode(allow_non_fake_inputs=True):
            return run()

    monkeypatch.setattr(programs, "every_beam", lambda beam, step: every_beam(beam, step) if beam.open.any() else None)
    with pytest.raises((DataDependentOutputException, DynamicOutputShapeException)):
        program(network(), traced)


def test_a_program_makes_its_tensors_where_the_trie_is():
    def watched(run):
        with OnItsDevice():
            run()
        return run

    program(network(), watched)


def test_a_graph_is_warmed_up_on_a_side_stream_captured_and_replayed(monkeypatch):
    did = []

    class Stream:
        def __init__(self, name="side"):
            self.name = name

        def wait_stream(self, other):
            did.append(f"{self.name} waits for {other.name}")

    class Within:
        def __init__(self, what):
            self.what = what

        def __enter__(self):
            did.append(f"into {self.what}")

        def __exit__(self, *_):
            did.append(f"out of {self.what}")

    made = {
        "Stream": Stream,
        "current_stream": lambda: Stream("here"),
        "stream": lambda stream: Within(stream.name),
        "CUDAGraph": lambda: SimpleNamespace(replay=lambda: did.append("replay")),
        "graph": lambda graph, stream: Within(f"capture on {stream.name}"),
    }
    for name, stand_in in made.items():
        monkeypatch.setattr(torch.cuda, name, stand_in)
    replay = programs.cuda_graph(lambda: did.append("run") or "generations")
    assert did == [
        "into here",
        "side waits for here",
        "into side",
        *["run"] * programs.WARMUPS,
        "out of side",
        "here waits for side",
        "into capture on side",
        "run",
        "out of capture on side",
        "out of here",
    ]
    assert replay() == "generations" and did[-1] == "replay"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here: CUDA graphs cannot be captured")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_on_a_gpu_graphs_find_what_the_search_without_finds(precision):
    backbone = network(device="cuda")
    auto, off = (
        CapturedTrieDecoder(CapturedTrieConfig(precision=precision)),
        TrieDecoder(TrieConfig(precision=precision)),
    )
    for users, length, own in ((3, 13, None), (4, 9, None), (3, 13, [[1, 2], [], [*range(800)]]), (2, 5, [[3], [4]])):
        given = None if own is None else Ragged.of(own)
        lists = [
            each.generate(backbone, batch_of(users, length), INDEX, beams=9, exclude=given) for each in (auto, off)
        ]
        assert auto.counts() == {"captured_batches": 1} and not auto.programs.broken
        if precision == "fp32":
            assert_same(*lists)
        with torch.no_grad():
            backbone.net.embedding.weight.mul_(-1)
    assert len(auto.programs.kept) == 3
