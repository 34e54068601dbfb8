"""Scores a finished run again from its stored lists, and compares every number that the record claims.

Reads `record.json`, `lists.parquet`, `generations.npz` if there is one, and the data set itself, and takes the digest of
every stored file. Needs no network or torch. How the lists came to be is beyond it.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from genrec_bench.baselines.id_canary import IdCanary
from genrec_bench.core.codes import Index
from genrec_bench.core.events import Interactions
from genrec_bench.core.files import expand_home, folder_digest, read_text
from genrec_bench.core.progress import Progress
from genrec_bench.core.rankings import NO_HYPOTHESIS, NOT_AN_ITEM, Ranking
from genrec_bench.core.sequences import Split
from genrec_bench.errors import GenrecError, InvalidRanking, RecordError
from genrec_bench.host.config import make_config
from genrec_bench.protocol.consistency import contradictions
from genrec_bench.protocol.ranks import read_ranks
from genrec_bench.protocol.scores import ceiling, score
from genrec_bench.protocol.validity import (
    contained,
    ranking_from,
    validity,
    validity_of_ranking,
)
from genrec_bench.runs import lists as stored
from genrec_bench.runs.baseline import CANARY, canary_warnings
from genrec_bench.runs.external_lists import CONTRADICTED, warnings
from genrec_bench.runs.folders import SPEC_FILE, damaged_files
from genrec_bench.runs.inputs import data_warnings, describe_data, load_data
from genrec_bench.runs.record import RECORD_FILE, RESCORED, RunRecord
from genrec_bench.runs.spec import LISTS, ResolvedSpec


@dataclass(frozen=True)
class Comparison:
    """One comparison: its name, whether it holds, and details."""

    name: str
    ok: bool
    detail: str = ""


@dataclass(frozen=True)
class VerifyReport:
    """All comparisons of one run folder, in order."""

    folder: Path
    spec_id: str
    comparisons: tuple[Comparison, ...]

    @property
    def ok(self) -> bool:
        """Whether every comparison holds."""
        return all(comparison.ok for comparison in self.comparisons)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for `--json`."""
        comparisons = [asdict(comparison) for comparison in self.comparisons]
        return {"folder": str(self.folder), "spec_id": self.spec_id, "ok": self.ok, "comparisons": comparisons}


def verify(folder: Path | str, data_dir: Path | str | None = None, progress: Progress | None = None) -> VerifyReport:
    """Verify the run in `folder`. `data_dir` is the folder of data files, by default that of `GENREC_DATA`.

    RecordError if the record or the lists cannot be read, or if the run is not finished; DataError if the data set cannot
    be loaded. A number that does not hold raises nothing: its comparison has `ok = False`.
    """
    path = Path(expand_home(folder))
    record = RunRecord.read(path)
    folder = path if path.is_dir() else path.parent
    if record.status != "finished":
        why = f" ({record.reason})" if record.reason else ""
        raise RecordError(
            f"{folder / RECORD_FILE}: this run is {record.status}{why}; only a finished run can be verified",
            path=folder,
        )

    lists = stored.read_lists(folder / stored.LISTS_FILE)
    spec = ResolvedSpec.from_dict(record.spec)
    data, split = load_data(spec, data_dir=data_dir, progress=progress)

    comparisons = [
        _compare_spec_file(record, folder),
        Comparison(
            "digest", record.intact, "" if record.intact else "the record is not what the run wrote: it was edited"
        ),
        same("spec", record.spec_id, spec.spec_id),
        same("system", record.system_id, spec.system_id),
        same("data", record.fingerprints.get("data"), data.fingerprint()),
        same("split", record.fingerprints.get("split"), split.fingerprint),
        _same_values("facts of the data", record.data, describe_data(spec.dataset, data, split)),
        same("policies", sorted(record.policies), sorted(lists)),
        same("tier", record.tier, RESCORED if spec.baseline == LISTS else None),
        *_compare_files(record, folder),
    ]

    try:
        users = data.user_ids[split.test.user]
        rankings = {policy: part.ranking(users, data.item_ids) for policy, part in lists.items()}
    except (RecordError, InvalidRanking) as error:
        comparisons.append(Comparison("lists", False, str(error)))
        return VerifyReport(folder, record.spec_id, tuple(comparisons))

    comparisons.append(
        same("lists", record.fingerprints.get("lists"), stored.fingerprint(rankings, users, data.item_ids))
    )
    comparisons += _compare_scores(record, folder, rankings, split)
    comparisons += _compare_validity(record, folder, rankings, split)
    comparisons += _compare_codes(record, folder)
    comparisons.append(_compare_warnings(record, spec, data, split, rankings))
    return VerifyReport(folder, record.spec_id, tuple(comparisons))


def _compare_files(record: RunRecord, folder: Path) -> list[Comparison]:
    """The files beside the record are those that the run stored, to the last byte."""
    damages = damaged_files(record, folder)
    comparisons = [Comparison("stored files", not damages, "; ".join(damages) or f"{len(record.stored)} files")]

    if recorded := record.fingerprints.get("weights"):
        comparisons.append(same("weights", recorded, folder_digest(folder / "weights" / "backbone")))
    return comparisons


def _compare_spec_file(record: RunRecord, folder: Path) -> Comparison:
    """The spec file beside the record holds the record's spec."""
    try:
        spec = json.loads(read_text(folder / SPEC_FILE))
    except (OSError, ValueError, RecursionError) as error:
        return Comparison("spec.json", False, f"cannot be read: {error}")
    return Comparison("spec.json", spec == record.spec, "" if spec == record.spec else "another spec than the record's")


def same(name: str, recorded: Any, now: Any) -> Comparison:
    """Whether a recorded value equals the present one, exactly."""
    if recorded == now:
        return Comparison(name, True, short(now))
    return Comparison(name, False, f"the record says {short(recorded)}, now it is {short(now)}")


def short(value: Any) -> str:
    """A value in a few characters."""
    text = "nothing" if value is None else str(value)
    return text if len(text) <= 60 else f"{text[:16]}..."


def _compare_scores(record: RunRecord, folder: Path, rankings: Mapping[str, Ranking], split: Split) -> list[Comparison]:
    """Ranks and metrics of each policy, scored again; lists of policy `mask` must hold no seen items."""
    queries, targets = split.queries(split.test), split.test.target
    highest = ceiling(queries, targets)

    comparisons = []
    for policy, ranking in rankings.items():
        recorded = record.metrics.get(policy, {})
        recorded_ranks = read_ranks(record.ranks.get(policy), folder)
        metrics, ranks = score(ranking, targets)
        comparisons.append(_same_ranks(f"ranks.{policy}", recorded_ranks, ranks.tolist()))

        of_metrics = _same_values(f"metrics.{policy}", recorded, metrics)
        comparisons.append(replace(of_metrics, detail=of_metrics.detail or f"ndcg@10 {metrics['ndcg@10']:.4f}"))

        impossible = contradictions(recorded, recorded_ranks, len(targets), highest if policy == "mask" else None)
        comparisons.append(Comparison(f"possible.{policy}", not impossible, "; ".join(impossible)))

    if "mask" in rankings:
        seen = int(contained(rankings["mask"].items, queries.history).sum())
        comparisons.append(
            Comparison("mask", not seen, f"{seen} listed items belong to the user's own history" if seen else "")
        )
    return comparisons


def _same_ranks(name: str, recorded: Sequence[int], now: Sequence[int]) -> Comparison:
    if len(recorded) != len(now):
        return Comparison(name, False, f"{len(recorded)} ranks in the record, {len(now)} cases")

    differ = [case for case, (before, after) in enumerate(zip(recorded, now, strict=True)) if before != after]
    if not differ:
        return Comparison(name, True, f"{len(now)} cases")
    first = differ[0]
    return Comparison(
        name, False, f"{len(differ)} differ; case {first}: {recorded[first]} in the record, {now[first]} now"
    )


def _compare_validity(
    record: RunRecord, folder: Path, rankings: Mapping[str, Ranking], split: Split
) -> list[Comparison]:
    """Validity of the search for policy `mask`, and every list again from the hypotheses of its search."""
    history = split.queries(split.test).history
    if not (folder / stored.GENERATIONS_FILE).exists():
        if record.spec.get("baseline") is None or "mask" not in rankings:
            return [
                Comparison("validity", False, f"no {stored.GENERATIONS_FILE}: what was emitted cannot be counted again")
            ]
        return [_same_values("validity", record.validity, validity_of_ranking(rankings["mask"], history))]

    searches = stored.read_generations(folder / stored.GENERATIONS_FILE)
    if not searches or any(len(search) != len(history) for search in searches.values()):
        return [Comparison("validity", False, f"{stored.GENERATIONS_FILE} does not hold one search per test case")]

    by_policy = {policy: searches.get(policy, next(iter(searches.values()))) for policy in rankings}
    comparisons = [_same_values("validity", record.validity, validity(by_policy["mask"], history))]
    for policy, ranking in rankings.items():
        exclude = history if policy == "mask" else None
        again = ranking_from(by_policy[policy], depth=ranking.depth, exclude=exclude)
        equal = _equal(again, ranking)
        comparisons.append(
            Comparison(f"generations.{policy}", equal, "" if equal else "the lists are not what was emitted")
        )
    return comparisons


def _compare_codes(record: RunRecord, folder: Path) -> list[Comparison]:
    """The stored index, and whether the tokens of every hypothesis are the code of the item it claims."""
    if record.spec.get("baseline") is not None or not (folder / stored.GENERATIONS_FILE).exists():
        return []  # if a generator's generations are missing, `validity` has failed
    try:
        index = Index.load(folder / "index")
    except (OSError, ValueError, KeyError, GenrecError, zipfile.BadZipFile) as error:
        return [Comparison("index", False, f"the index cannot be read: {error}")]

    item_of = {code.tobytes(): item for item, code in enumerate(index.items.codes)}
    wrong = 0
    for search in stored.read_generations(folder / stored.GENERATIONS_FILE).values():
        emitted = search.items != NO_HYPOTHESIS
        tokens = np.ascontiguousarray(search.tokens[emitted], dtype=np.int32)
        codes, rows = np.unique(tokens, axis=0, return_inverse=True)
        true_items = np.array([item_of.get(code.tobytes(), NOT_AN_ITEM) for code in codes], np.int32)
        wrong += int((true_items[rows.reshape(-1)] != search.items[emitted]).sum())
    return [
        same("index", record.fingerprints.get("index"), index.fingerprint),
        Comparison("codes", not wrong, f"{wrong} hypotheses claim another item than their code's" if wrong else ""),
    ]


def _compare_warnings(
    record: RunRecord, spec: ResolvedSpec, data: Interactions, split: Split, rankings: Mapping[str, Ranking]
) -> Comparison:
    """The record's warnings: of the data, from these; of short or missing lists made elsewhere and of the id canary, from
    the lists alone; of an index, from its own facts."""
    of_lists = spec.baseline == LISTS
    policy = record.policies[-1] if of_lists else "mask"  # as handed in, or as the canary is compared
    if policy not in rankings:
        return Comparison("warnings", False, f"no lists of policy {policy}")

    expected = [*data_warnings(data, split), *(record.index or {}).get("info", {}).get("warnings", ())]
    if of_lists:
        expected += warnings((rankings[policy].items >= 0).sum(axis=1), spec.system)
        expected += [sentence for sentence in record.warnings if sentence.endswith(CONTRADICTED)]  # of the file alone
    elif spec.baseline == CANARY:
        canary = IdCanary(make_config(IdCanary.Config, spec.options["baseline"], "baseline"))
        expected += canary_warnings(canary, data, split, spec.system, rankings[policy])

    if expected == list(record.warnings):
        return Comparison("warnings", True, "; ".join(expected) or "none")
    return same("warnings", "; ".join(record.warnings) or "nothing", "; ".join(expected) or "nothing")


def _same_values(name: str, recorded: Mapping[str, Any], now: Mapping[str, Any]) -> Comparison:
    wrong = [same(key, recorded.get(key), value) for key, value in now.items() if recorded.get(key) != value]
    return Comparison(name, not wrong, "; ".join(f"{comparison.name}: {comparison.detail}" for comparison in wrong))


def _equal(a: Ranking, b: Ranking) -> bool:
    width = max(a.items.shape[1], b.items.shape[1])
    wide = [np.pad(r.items, ((0, 0), (0, width - r.items.shape[1])), constant_values=-1) for r in (a, b)]
    return bool((wide[0] == wide[1]).all() and np.array_equal(a.scores[a.items >= 0], b.scores[b.items >= 0]))
