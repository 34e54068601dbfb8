"""The life of a run, on a small planted data set."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import jsonschema
import numpy as np
import pytest
import torch
from small_runs import SMALL, folder_of, spec_for

from genrec_bench import RunRecord, RunSpec
from genrec_bench.baselines.popularity import Popularity
from genrec_bench.core.files import write_json
from genrec_bench.core.progress import Quiet
from genrec_bench.errors import (
    ComponentFault,
    ConfigError,
    DataError,
    DeviceMissing,
    Diverged,
    UnknownComponent,
    UsageError,
)
from genrec_bench.host import registry
from genrec_bench.host.sealing import opened_by
from genrec_bench.leaderboard.records import collect
from genrec_bench.protocol import split as protocol
from genrec_bench.runs import run as runner
from genrec_bench.runs.lists import read_lists
from genrec_bench.runs.spec import ResolvedSpec


def test_a_run_leaves_a_record_that_fits_the_schema_and_all_its_files(go, tmp_path):
    record = go()
    jsonschema.validate(record.to_dict(), RunRecord.json_schema())
    assert record.training["ended_by"] == "epochs" and record.training["seconds"] > 0
    assert record.training["targets_per_epoch"] == record.data["interactions"] - 2 * record.data["users"]
    assert len(record.ranks["mask"]) == record.data["test_cases"] == 60
    assert record.components["indexer"]["distribution"] == "genrec-bench"
    folder = folder_of(tmp_path, record)
    made = {path.name for path in folder.iterdir() if path.name != ".lock"}
    assert made == {"spec.json", "record.json", "lists.parquet", "generations.npz", "index", "weights"}
    assert (folder / "weights" / "backbone" / "weights.safetensors").exists()
    lists = read_lists(folder / "lists.parquet")
    assert set(lists) == {"mask", "keep"}


def test_a_planted_pattern_is_learned_and_an_untrained_network_does_not_know_it(go):
    many = {"backbone.epochs": 30, "backbone.d_model": 64, "backbone.learning_rate": 0.003, "backbone.dropout": 0}
    trained = go(task="sequential", set=many)
    barely = go(task="sequential", set={"backbone.epochs": 1, "backbone.learning_rate": 1e-9})
    assert trained.metrics["keep"]["hit@5"] > 0.9
    assert barely.metrics["keep"]["hit@5"] < 0.4


def test_the_same_spec_twice_gives_the_same_metrics_and_fingerprints(go):
    first, second = go(indexer="sci"), go(indexer="sci", force=True)
    assert not second.training["cached"]
    assert first.metrics == second.metrics
    assert first.ranks == second.ranks
    assert first.fingerprints == second.fingerprints
    other = go(indexer="sci", seed=1)
    assert other.fingerprints["weights"] != first.fingerprints["weights"]
    assert (other.system_id, other.fingerprints["split"]) == (first.system_id, first.fingerprints["split"])


def test_decoders_share_the_trained_weights(go):
    trie, filtered = go(decoder="trie"), go(decoder="filter")
    assert (trie.training["cached"], filtered.training["cached"]) == (False, True)
    assert trie.fingerprints["weights"] == filtered.fingerprints["weights"]


def test_a_finished_run_is_returned_as_it_is(go, tmp_path):
    record = go(baseline="popularity")
    file = folder_of(tmp_path, record) / "record.json"
    before = file.stat().st_mtime_ns
    assert go(baseline="popularity").to_dict() == record.to_dict()
    assert file.stat().st_mtime_ns == before


def test_a_finished_run_of_other_data_is_run_again(go, planted_file):
    first = go(baseline="popularity")
    lines = opened_by(planted_file.read_text)[0].splitlines()  # as the host reads: no component has seen the file
    planted_file.write_text("\n".join(lines[:-1]) + "\n")
    second = go(baseline="popularity")
    assert second.spec_id == first.spec_id
    assert (first.data["users"], second.data["users"]) == (60, 59)


def poisoned(monkeypatch, parts):
    """Replace the held-out events of the split with other items."""
    honest = protocol.leave_one_out

    def leave_one_out(data, seed=protocol.TIE_SEED):
        split = honest(data, seed)
        values = split.sequences.values.copy()
        ends = split.sequences.offsets[1:]
        for back in parts:
            values[ends - back] = (values[ends - back] + 7) % split.n_items
        cases = {
            name: protocol.Cases(old.user, old.end, values[split.sequences.offsets[:-1][old.user] + old.end])
            for name, old in (("validation", split.validation), ("test", split.test))
        }
        sequences = protocol.Ragged(values, split.sequences.offsets)
        return protocol.Split(
            sequences, split.train_end, cases["validation"], cases["test"], split.n_items, split.protocol
        )

    monkeypatch.setattr(protocol, "leave_one_out", leave_one_out)


@pytest.mark.parametrize("task", ["direct", "sequential"])
def test_poisoned_test_targets_change_neither_index_nor_weights_nor_epoch(go, monkeypatch, task):
    honest = go(indexer="sci", task=task)
    poisoned(monkeypatch, parts=[1])
    leaky = go(indexer="sci", task=task, force=True)
    assert leaky.fingerprints["split"] != honest.fingerprints["split"]
    assert leaky.fingerprints["index"] == honest.fingerprints["index"]
    assert leaky.fingerprints["weights"] == honest.fingerprints["weights"]
    assert leaky.training["best_epoch"] == honest.training["best_epoch"]


@pytest.mark.parametrize("task", ["direct", "sequential"])
def test_poisoned_validation_targets_change_no_index_and_no_weights_of_a_fixed_epoch(go, monkeypatch, task):
    one = {"backbone.epochs": 1}
    honest = go(indexer="sci", task=task, set=one)
    poisoned(monkeypatch, parts=[2])
    leaky = go(indexer="sci", task=task, set=one, force=True)
    assert leaky.fingerprints["split"] != honest.fingerprints["split"]
    assert leaky.fingerprints["index"] == honest.fingerprints["index"]
    assert leaky.fingerprints["weights"] == honest.fingerprints["weights"]


def test_an_interrupted_run_says_so_and_the_same_command_goes_on(go, monkeypatch, tmp_path):
    from genrec_bench.backbones import encoder_decoder

    honest, calls = encoder_decoder.batch_loss, []

    def impatient(*args):
        calls.append(1)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return honest(*args)

    monkeypatch.setattr(encoder_decoder, "batch_loss", impatient)
    with pytest.raises(KeyboardInterrupt):
        go()
    (folder,) = (tmp_path / "runs").iterdir()
    failed = RunRecord.read(folder)
    jsonschema.validate(failed.to_dict(), RunRecord.json_schema())
    assert (failed.status, failed.reason) == ("failed", "interrupted")
    again = go()
    assert again.status == "finished"
    assert again.training["resumed_from"] == 2
    assert go(force=True).metrics == again.metrics


def test_a_baseline_that_ignores_what_to_exclude_is_refused(go, monkeypatch):
    from genrec_bench.baselines.popularity import Popularity

    honest = Popularity.rank
    monkeypatch.setattr(Popularity, "rank", lambda self, queries, *, k, exclude=None: honest(self, queries, k=k))
    with pytest.raises(ComponentFault, match="exclude"):
        go(baseline="popularity")


def test_what_a_baseline_says_of_its_training_is_recorded(go, monkeypatch):
    from genrec_bench.baselines.popularity import Popularity

    assert go(baseline="popularity").training == {}
    monkeypatch.setattr(Popularity, "facts", lambda self: {"epochs": 1, "converged": True})
    assert go(baseline="popularity", force=True).training == {"epochs": 1, "converged": True}


def test_a_record_is_written_without_changing_a_text(tmp_path):
    data = {"path": "a[ 1 ]/x.csv", "ranks": [1, 2.5, -3], "mixed": [1, "2"], "empty": []}
    write_json(tmp_path / "x.json", data)
    text = (tmp_path / "x.json").read_text()
    assert json.loads(text) == data
    assert "[1, 2.5, -3]" in text


def test_a_crash_leaves_a_failed_record_with_its_reason(go, monkeypatch, tmp_path):
    from genrec_bench.baselines.popularity import Popularity

    def crash(*args, **kwargs):
        raise RuntimeError("out of luck")

    monkeypatch.setattr(Popularity, "fit", crash)
    with pytest.raises(ComponentFault, match="it raised RuntimeError: out of luck"):
        go(baseline="popularity")
    (folder,) = (tmp_path / "runs").iterdir()
    assert "RuntimeError: out of luck" in RunRecord.read(folder).reason


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"indexer": "scii"}, UnknownComponent, "Did you mean 'sci'"),
        ({"set": {"backbone.epoch": 3}}, ConfigError, "Did you mean 'epochs'"),
        ({"set": {"backbone.epochs": "many"}}, ConfigError, "expected a whole number"),
        ({"set": {"backbone.epochs": 0}}, ConfigError, "must be above 0"),
        ({"set": {"backbone.learning_rate": "inf"}}, ConfigError, "finite"),
        ({"set": {"backbone.weight_decay": "nan"}}, ConfigError, "finite"),
        ({"set": {"indxer.base": 3}}, ConfigError, "Did you mean 'indexer'"),
        ({"beams": 10}, UsageError, "at least 20"),
        ({"profile": "quik"}, UsageError, "Did you mean 'quick'"),
        ({"task": "diret"}, UsageError, "direct or sequential"),
        ({"protocol": "loo-ful/1"}, UsageError, "Did you mean 'loo-full/1'"),
        ({"baseline": "popularity", "beams": 50}, UsageError, "a baseline has no beams"),
        ({"seed": -1}, UsageError, "from 0"),
        ({"seed": 2**63}, UsageError, "from 0"),
    ],
)
def test_a_wrong_request_is_refused_before_anything_is_written(go, tmp_path, changes, error, says):
    with pytest.raises(error, match=says):
        go(**changes)
    assert not (tmp_path / "runs").exists()


def test_a_training_that_diverges_fails_and_says_what_to_change(go):
    with pytest.raises((ComponentFault, Diverged), match="lower backbone"):
        go(set={"backbone.learning_rate": 1e30, "backbone.clip": 1e30})


def test_a_loss_that_is_no_number_ends_the_command_with_one_line(tmp_path, planted_file):
    options = {
        **SMALL,
        "backbone.batch_size": 8,
        "backbone.learning_rate": 1e30,
        "dataset.path": planted_file,
        "dataset.format": "sequence",
    }
    words = ["run", "--dataset", "file", "--indexer", "random", "--backbone", "lightlm", "--profile", "tiny"]
    words += [word for key, value in options.items() for word in ("--set", f"{key}={value}")]
    done = subprocess.run(
        [sys.executable, "-m", "genrec_bench", *words, "--device", "cpu", "--out", tmp_path / "runs"],
        capture_output=True,
        text=True,
        env={**os.environ, "GENREC_CACHE": str(tmp_path / "cache")},
    )
    assert done.returncode != 0 and not done.stdout and "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1] == (
        "Diverged: training diverged: the loss is nan in epoch 1; lower backbone.learning_rate (now 1e+30), or let it rise "
        "longer (backbone.warmup)"
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("resolved = true", "no key 'resolved'"),
        ("set = 'a'", "is not a table"),
        ("options = {dataset = 3}", "expected a table of options"),
        ("indexr = 'sci'", "Did you mean 'indexer'"),
        ("seed = ", "is not readable TOML"),
    ],
)
def test_a_wrong_spec_file_is_refused(tmp_path, text, says):
    path = tmp_path / "spec.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=says):
        RunSpec.from_toml(path)


def test_a_spec_file_may_write_options_in_three_ways(tmp_path):
    system = "indexer = 'sci'\nbackbone = 'lightlm'\n"
    path, specs = tmp_path / "spec.toml", []
    for way in ("[set]\nbackbone.epochs = 3", "[set]\n'backbone.epochs' = 3", "[options.backbone]\nepochs = 3"):
        path.write_text(system + way)
        specs.append(runner.resolve(RunSpec.from_toml(path)).spec.spec_id)
    assert len(set(specs)) == 1


def test_a_missing_data_file_leaves_nothing_behind(tmp_path):
    with pytest.raises(DataError, match="nowhere"):
        runner.run(spec_for(tmp_path / "nowhere.txt"), out=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_a_device_that_is_not_there_is_refused(planted_file, tmp_path):
    with pytest.raises(DeviceMissing, match="cuda:99"):
        runner.run(spec_for(planted_file), out=tmp_path / "runs", device="cuda:99")


class Notes(Quiet):
    """Progress that keeps what it was told."""

    def __init__(self):
        self.told = []

    def note(self, message):
        self.told.append(message)


class OnTheGpu(Popularity):
    uses_gpu = True


@pytest.mark.parametrize(("cls", "expected"), [(Popularity, "cpu"), (OnTheGpu, "cuda")])
def test_auto_gives_a_gpu_to_a_baseline_that_uses_one(monkeypatch, cls, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    load = registry.load
    monkeypatch.setattr(registry, "load", lambda kind, name: cls if kind == "baseline" else load(kind, name))
    assert runner.device_of(runner.resolve(RunSpec(baseline="popularity")), "auto", Quiet()) == expected


def test_a_floor_says_that_it_stays_on_the_cpu(planted_file, tmp_path):
    notes = Notes()
    record = runner.run(spec_for(planted_file, baseline="popularity"), out=tmp_path, device="cuda", progress=notes)
    assert record.environment["device"] == record.throughput["device"] == "cpu"
    assert any("'popularity' can use the CPU only: --device cuda is ignored" in note for note in notes.told)
    with pytest.raises(UsageError, match="no device 'gpu'"):
        runner.run(spec_for(planted_file, baseline="popularity"), out=tmp_path, device="gpu")


def test_a_floor_is_run_without_torch(planted_file, tmp_path):
    code = (
        "import sys; from genrec_bench import RunSpec, run\n"
        f"where = {{'dataset.path': {str(planted_file)!r}, 'dataset.format': 'sequence'}}\n"
        f"run(RunSpec(baseline='popularity', dataset='file', set=where), out={str(tmp_path / 'runs')!r}, device='cuda')\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_many_ranks_go_to_a_sidecar(go, tmp_path, monkeypatch):
    inline = go(baseline="popularity")
    monkeypatch.setattr(runner, "INLINE_RANKS", 10)
    record = go(baseline="popularity", force=True)
    assert record.ranks["mask"] == "ranks.mask.npy"
    assert np.load(folder_of(tmp_path, record) / "ranks.mask.npy").tolist() == inline.ranks["mask"]
    assert collect([tmp_path / "runs"])[0].ranks == inline.ranks


def test_a_resolved_spec_round_trips_and_names_itself(planted_file):
    spec = runner.resolve(spec_for(planted_file)).spec
    assert ResolvedSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec
    assert runner.resolve(spec).spec == spec
    assert replace(spec, seed=5).spec_id != spec.spec_id
    assert replace(spec, seed=5).system_id == spec.system_id
    assert spec.options["backbone"]["epochs"] == 3
    assert spec.options["backbone"]["d_ff"] == 16


def test_importing_the_package_imports_no_torch():
    code = "import sys, genrec_bench; assert not {'torch', 'scipy', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ)


def test_data_without_a_single_step_is_refused_before_training(tmp_path, monkeypatch):
    monkeypatch.setenv("GENREC_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "short.txt"
    path.write_text("".join(f"u{user} a b c\n" for user in range(5)))
    with pytest.raises(DataError, match=r"no training examples.*--task direct"):
        runner.run(spec_for(path, task="sequential"), out=tmp_path / "runs", device="cpu")
    assert not (tmp_path / "runs").exists() and not (tmp_path / "cache" / "index").exists()


def test_a_baseline_is_timed_after_a_warm_up_batch(go, monkeypatch):
    calls, rank = [], Popularity.rank
    monkeypatch.setattr(Popularity, "rank", lambda *asked, **how: (calls.append(1), rank(*asked, **how))[1])
    told = go(baseline="popularity").throughput
    assert (len(calls), told["warmup_batches"]) == (3, 1)  # one batch: warm, mask, keep
