"""Scoring a stored run again: an honest one passes, an edited number, list or data set does not."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from example_records import baseline_spec, edit, failed, finished, generator_spec

from genrec_bench.baselines.popularity import Popularity
from genrec_bench.core.codes import CodeTable, Index
from genrec_bench.core.events import Interactions
from genrec_bench.core.files import write_json
from genrec_bench.core.rankings import Generations, Ranking
from genrec_bench.core.sequences import Split
from genrec_bench.errors import RecordError
from genrec_bench.host import registry
from genrec_bench.host.contracts import Dataset, DatasetContext
from genrec_bench.protocol import split as protocol
from genrec_bench.protocol.scores import score
from genrec_bench.protocol.validity import ranking_from, validity, validity_of_ranking
from genrec_bench.runs.inputs import describe_data
from genrec_bench.runs.lists import (
    read_generations,
    read_lists,
    write_generations,
    write_lists,
)
from genrec_bench.runs.record import RunRecord
from genrec_bench.runs.spec import ResolvedSpec
from genrec_bench.runs.verify import verify


class Toy(Dataset):
    """Thirty users, twelve items; `change` moves one event."""

    change = False

    def load(self, ctx: DatasetContext) -> Interactions:
        rng = np.random.default_rng(7)
        item = np.concatenate([rng.permutation(12)[:6] for _ in range(30)]).astype(np.int32)
        if self.change:
            item[5] = (item[5] + 1) % 12
        user = np.repeat(np.arange(30, dtype=np.int32), 6)
        names = [np.array([f"{kind}{number}" for number in range(count)]) for kind, count in (("u", 30), ("i", 12))]
        return Interactions(user, item, np.arange(180), *names)


@pytest.fixture(autouse=True)
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    load = registry.load
    monkeypatch.setattr(registry, "load", lambda kind, name: Toy if kind == "dataset" else load(kind, name))
    monkeypatch.setattr(Toy, "change", False)


def write_run(
    folder: Path, spec: ResolvedSpec, data: Interactions, split: Split, rankings: dict[str, Ranking], told: dict
) -> None:
    """A run folder as a finished run leaves it."""
    targets = split.test.target
    scored = {policy: score(ranking, targets) for policy, ranking in rankings.items()}
    prints = {"data": data.fingerprint(), "split": split.fingerprint}
    prints["lists"] = write_lists(folder / "lists.parquet", rankings, data.user_ids[split.test.user], data.item_ids)
    record = finished(
        spec,
        validity=told,
        metrics={policy: metrics for policy, (metrics, _) in scored.items()},
        fingerprints=prints,
        data=describe_data(spec.dataset, data, split),
    )
    write_json(folder / "spec.json", record.spec)
    replace(record, ranks={policy: ranks.tolist() for policy, (_, ranks) in scored.items()}).write(folder)


@pytest.fixture
def baseline_run(tmp_path: Path) -> Path:
    data, split = protocol.split_data(Toy().load(DatasetContext()))
    popularity, queries = Popularity(), split.queries(split.test)
    popularity.fit(protocol.train_view(data, split), DatasetContext())
    rankings = {
        "mask": popularity.rank(queries, k=5, exclude=queries.history),
        "keep": popularity.rank(queries, k=5),
    }
    write_run(tmp_path, baseline_spec(), data, split, rankings, validity_of_ranking(rankings["mask"], queries.history))
    return tmp_path


@pytest.fixture
def generator_run(tmp_path: Path) -> Path:
    data, split = protocol.split_data(Toy().load(DatasetContext()))
    history = split.queries(split.test).history
    items = np.random.default_rng(0).integers(-1, 12, (30, 8)).astype(np.int32)
    scores = np.tile(-np.arange(8, dtype=np.float32), (30, 1))
    index = Index(CodeTable(np.arange(12, dtype=np.int32)[:, None]), None, n_tokens=13)
    tokens = np.where(items < 0, 12, items)[..., None]  # token 12 is no item's code
    found = Generations(tokens, scores, items, np.full(30, -9, np.float32))
    rankings = {
        "mask": ranking_from(found, depth=8, exclude=history),
        "keep": ranking_from(found, depth=8),
    }
    write_run(tmp_path, generator_spec(), data, split, rankings, validity(found, history))
    edit(tmp_path, "fingerprints", "index", value=index.fingerprint)
    write_generations(tmp_path / "generations.npz", {"keep": found})
    index.save(tmp_path / "index")
    return tmp_path


def failures(folder: Path) -> list[str]:
    return [comparison.name for comparison in verify(folder).comparisons if not comparison.ok]


def test_an_honest_baseline_run_passes_every_comparison(baseline_run: Path) -> None:
    report = verify(baseline_run)
    assert report.ok, report.to_dict()
    assert {comparison.name for comparison in report.comparisons} >= {
        "data",
        "split",
        "lists",
        "metrics.mask",
        "ranks.keep",
        "validity",
        "warnings",
    }


def test_an_honest_generator_run_passes_every_comparison(generator_run: Path) -> None:
    report = verify(generator_run)
    assert report.ok, report.to_dict()
    assert {comparison.name for comparison in report.comparisons} >= {"validity", "generations.mask", "index", "codes"}


@pytest.mark.parametrize(
    ("keys", "value", "caught"),
    [
        (("metrics", "mask", "ndcg@5"), 0.123, "metrics.mask"),
        (("metrics", "keep", "tie_gap"), 0.5, "metrics.keep"),
        (("validity", "seen_rate"), 0.99, "validity"),
        (("data", "mask_ceiling"), 0.5, "facts of the data"),
        (("data", "dropped"), {"users_below_3": 2}, "facts of the data"),
        (("fingerprints", "data"), "0" * 64, "data"),
        (("spec", "seed"), 3, "spec"),
        (("ranks", "mask"), [1] * 30, "ranks.mask"),
        (("ranks", "mask"), [1] * 29, "ranks.mask"),
        (("warnings",), ["popularity beats itself"], "warnings"),
    ],
)
def test_a_number_edited_by_hand_is_caught(baseline_run: Path, keys: tuple, value: object, caught: str) -> None:
    edit(baseline_run, *keys, value=value)
    assert caught in failures(baseline_run)


@pytest.mark.parametrize(
    ("gone", "caught"), [("spec.json", "spec.json"), ("generations.npz", "validity"), ("index/codes.npz", "index")]
)
def test_a_file_that_is_gone_is_no_check_passed(generator_run: Path, gone: str, caught: str) -> None:
    (generator_run / gone).unlink()
    assert failures(generator_run) == [caught]


def test_a_truncated_index_is_caught(generator_run: Path) -> None:
    codes = generator_run / "index" / "codes.npz"
    codes.write_bytes(codes.read_bytes()[:40])
    assert failures(generator_run) == ["index"]


def test_another_spec_beside_the_record_is_caught(baseline_run: Path) -> None:
    spec = json.loads((baseline_run / "spec.json").read_text())
    write_json(baseline_run / "spec.json", {**spec, "seed": 4})
    assert failures(baseline_run) == ["spec.json"]


def test_an_edited_list_is_caught(baseline_run: Path) -> None:
    data, split = protocol.split_data(Toy().load(DatasetContext()))
    users = data.user_ids[split.test.user]
    path = baseline_run / "lists.parquet"
    rankings = {policy: part.ranking(users, data.item_ids) for policy, part in read_lists(path).items()}
    case = int(np.flatnonzero(rankings["mask"].items[:, 0] != split.test.target)[0])
    rankings["mask"].items[case] = [split.test.target[case], -1, -1, -1, -1]
    rankings["mask"].scores[case, 1:] = -np.inf
    write_lists(path, rankings, users, data.item_ids)
    assert {"lists", "ranks.mask", "metrics.mask"} <= set(failures(baseline_run))


def test_lists_that_are_not_what_was_emitted_are_caught(generator_run: Path) -> None:
    items = np.full((30, 8), -1, np.int32)
    found = Generations(items[..., None], np.zeros((30, 8), np.float32), items, np.zeros(30, np.float32))
    write_generations(generator_run / "generations.npz", {"keep": found})
    assert {"validity", "generations.mask", "generations.keep"} <= set(failures(generator_run))


def test_a_hypothesis_that_claims_another_item_than_its_code_is_caught(generator_run: Path) -> None:
    found = read_generations(generator_run / "generations.npz")["keep"]
    found.tokens[found.items < 0] = 3  # what was called a hallucination is item 3's code
    write_generations(generator_run / "generations.npz", {"keep": found})
    assert failures(generator_run) == ["codes"]


def test_an_exchanged_index_is_caught(generator_run: Path) -> None:
    Index(CodeTable(np.arange(12, dtype=np.int32)[::-1, None].copy()), None, n_tokens=13).save(generator_run / "index")
    assert failures(generator_run) == ["index", "codes"]


def test_a_mask_list_with_an_item_of_the_history_is_caught(baseline_run: Path) -> None:
    data, split = protocol.split_data(Toy().load(DatasetContext()))
    users, path = data.user_ids[split.test.user], baseline_run / "lists.parquet"
    keep = read_lists(path)["keep"].ranking(users, data.item_ids)
    write_lists(path, {"mask": keep, "keep": keep}, users, data.item_ids)
    assert "mask" in failures(baseline_run)


def test_another_data_set_under_the_same_name_is_caught(baseline_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Toy, "change", True)
    assert {"data", "split"} <= set(failures(baseline_run))


def test_lists_of_other_users_are_caught(baseline_run: Path) -> None:
    data, split = protocol.split_data(Toy().load(DatasetContext()))
    users, path = data.user_ids[split.test.user], baseline_run / "lists.parquet"
    rankings = {policy: part.ranking(users, data.item_ids) for policy, part in read_lists(path).items()}
    write_lists(path, rankings, users[::-1], data.item_ids)
    assert failures(baseline_run) == ["lists"]


def test_an_unfinished_run_cannot_be_verified(tmp_path: Path) -> None:
    failed().write(tmp_path)
    with pytest.raises(RecordError, match=r"this run is failed \(interrupted\)"):
        verify(tmp_path)


def test_a_run_without_lists_cannot_be_verified(baseline_run: Path) -> None:
    (baseline_run / "lists.parquet").unlink()
    with pytest.raises(RecordError, match="no lists at"):
        verify(baseline_run)


def test_a_folder_without_a_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="is this a run folder"):
        verify(tmp_path)


def test_the_report_is_plain_data(baseline_run: Path) -> None:
    report = verify(baseline_run).to_dict()
    assert report["ok"] is True
    assert report["spec_id"] == RunRecord.read(baseline_run).spec_id
    assert all(set(comparison) == {"name", "ok", "detail"} for comparison in report["comparisons"])


def test_verifying_needs_no_torch() -> None:
    code = "import sys, genrec_bench.runs.verify; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_warning_that_was_taken_out_of_a_generators_record_or_put_in_is_caught(generator_run: Path) -> None:
    edit(generator_run, "warnings", value=["made up"])
    assert failures(generator_run) == ["warnings"]
