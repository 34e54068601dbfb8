"""A worker that dies, hangs or needs too much memory is one error with the end of its log; the host lives."""

import os
import sys
import time
from pathlib import Path

import psutil
import pytest
from genrec_baselines import baseline, models, process

from genrec_bench import RunRecord, RunSpec, run
from genrec_bench.api import BaselineContext, Quiet, WorkerFailed


@pytest.fixture
def fake(monkeypatch):
    """Workers do what they are told instead of training."""

    def does(what):
        monkeypatch.setattr(process, "CODE", Path(__file__).with_name("fake_worker.py"))
        monkeypatch.setenv("FAKE_WORKER", what)

    return does


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("exits", r"ended by itself \(exit code 3\)"),
        ("is killed", r"was killed by SIGKILL \(out of memory\?\)"),
        ("raises", r"failed: ValueError: Training loss is nan"),
        ("babbles", r"wrote what is not a message: 'Segmentation fault, or so'"),
    ],
)
def test_a_worker_that_ends_is_told_with_the_end_of_its_log(make, data, ctx, fake, what, said):
    fake(what)
    with pytest.raises(WorkerFailed, match=said + r".*epoch 0 training \| something went wrong here") as caught:
        make(models.BPR).fit(data.train, ctx)
    assert "\n" not in str(caught.value) and "\x1b" not in str(caught.value)
    assert caught.value.log == ("epoch 0 training", "something went wrong here")


def test_a_worker_that_hangs_is_stopped_at_its_time_limit(make, data, ctx, fake, monkeypatch):
    fake("hangs")
    monkeypatch.setattr(baseline, "GRACE", 1.0)
    hanging = make(models.BPR, time_limit=0.5)
    with pytest.raises(WorkerFailed, match="did not end training within its time limit"):
        hanging.fit(data.train, ctx)
    assert not psutil.pid_exists(hanging._worker.pid) and not hanging._worker.folder.exists()


def test_a_worker_that_hangs_when_it_is_asked_for_lists_is_stopped_too(make, data, ctx, fake, monkeypatch):
    fake("hangs when asked")
    monkeypatch.setattr(baseline, "GRACE", 1.0)
    hanging = make(models.BPR, time_limit=0.5)
    hanging.fit(data.train, ctx)
    with pytest.raises(WorkerFailed, match="did not end ranking within its time limit"):
        hanging.rank(data.queries, k=5)
    assert not psutil.pid_exists(hanging._worker.pid)


@pytest.mark.parametrize("what", ["grows", "lets another grow"])
def test_a_worker_that_grows_is_stopped_at_its_memory_limit(make, data, ctx, fake, what):
    fake(what)
    with pytest.raises(WorkerFailed, match="more than memory_limit_mb=200"):
        make(models.BPR, memory_limit_mb=200).fit(data.train, ctx)


def test_a_failed_run_is_recorded_with_its_reason_and_the_log_stays(planted_file, fake, tmp_path):
    fake("is killed")
    with pytest.raises(WorkerFailed):
        run(RunSpec(dataset="file", baseline="bpr", set=planted_file), out=tmp_path / "out")
    (folder,) = (tmp_path / "out").glob("*/")
    record = RunRecord.read(folder)
    assert record.status == "failed" and "was killed by SIGKILL" in record.reason
    assert "something went wrong here" in (folder / "baseline" / process.LOG).read_text()


class Killer(Quiet):
    """Progress that kills the worker when a phase begins."""

    def __init__(self, when):
        self.when = when

    def phase(self, name, total=None, unit=""):
        if name.startswith(self.when):
            (child,) = psutil.Process().children()
            os.kill(child.pid, 9)
        return super().phase(name, total, unit)


@pytest.mark.parametrize("when", ["training", "ranking"])
def test_a_worker_killed_from_outside_leaves_a_failed_record_and_a_living_host(planted_file, tmp_path, when):
    spec = RunSpec(dataset="file", baseline="bpr", set={**planted_file, "baseline.epochs": 1})
    with pytest.raises(WorkerFailed, match="was killed by SIGKILL"):
        run(spec, out=tmp_path / "out", progress=Killer(when))
    (folder,) = (tmp_path / "out").glob("*/")
    assert RunRecord.read(folder).status == "failed"


def test_no_process_and_no_folder_stay_behind(make, data, ctx, fake):
    fake("exits")
    ended = make(models.BPR)
    with pytest.raises(WorkerFailed):
        ended.fit(data.train, ctx)
    assert not psutil.pid_exists(ended._worker.pid) and not ended._worker.folder.exists()


def test_a_gpu_that_the_worker_does_not_see_is_no_silent_cpu(make, data):
    with pytest.raises(WorkerFailed, match="sees no GPU: use --device cpu"):
        make(models.BPR, epochs=1).fit(data.train, BaselineContext(device="cuda:99"))


def test_a_worker_whose_host_has_died_ends_and_tidies_up(tmp_path):
    worker = process.RecBoleWorker(sys.executable, "BPR", None, tmp_path)
    worker._process.stdin.close()  # as the system does for a host that is killed
    assert worker._process.wait(timeout=60) == 1
    assert not worker.folder.exists()


@pytest.mark.slow
def test_training_ends_at_the_time_limit_with_the_best_weights_so_far(make, data):
    limited = make(models.BPR, epochs=1_000_000, stopping_step=1_000_000, time_limit=8)
    began = time.monotonic()
    limited.fit(data.train, BaselineContext(validate=lambda: 0.5))
    assert time.monotonic() - began < 8 + baseline.GRACE
    facts = limited.facts()
    assert facts["ended_by"] == "time limit" and facts["converged"] is False and facts["epochs"] >= 1
    assert (limited.rank(data.queries, k=10).items >= 0).all()
