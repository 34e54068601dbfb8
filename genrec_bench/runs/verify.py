"""Scores a finished run again from its stored lists, and compares every number that the record claims.

Reads `record.json`, `lists.parquet`, `generations.npz` where it is kept, and the data set itself. Needs no network, no
weights and no torch: what it cannot check is how the lists came to be.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from genrec_bench.baselines.id_canary import IdCanary
from genrec_bench.core.codes import Index
from genrec_bench.core.events import Interactions
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
from genrec_bench.runs.external_lists import warnings
from genrec_bench.runs.inputs import describe_data, load_data
from genrec_bench.runs.record import RECORD_FILE, RESCORED, RunRecord
from genrec_bench.runs.spec import LISTS, ResolvedSpec


@dataclass(frozen=True)
class Check:
    """One comparison: what was looked at, whether it holds, and what was seen."""

    name: str
    ok: bool
    detail: str = ""


@dataclass(frozen=True)
class VerifyReport:
    """All checks of one run folder, in the order they were made."""

    folder: Path
    spec_id: str
    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """Whether every check holds."""
        return all(check.ok for check in self.checks)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for `--json`."""
        checks = [{"name": check.name, "ok": check.ok, "detail": check.detail} for check in self.checks]
        return {"folder": str(self.folder), "spec_id": self.spec_id, "ok": self.ok, "checks": checks}


def verify(folder: Path, data_dir: Path | None = None, progress: Progress | None = None) -> VerifyReport:
    """Check the run in `folder`; `data_dir` is where data files lie, if not where `GENREC_DATA` says.

    RecordError if the record or the lists cannot be read or the run is not finished; DataError if the data set cannot
    be loaded. A number that does not hold is no error: its check says `ok = False`.
    """
    record = RunRecord.read(Path(folder))
    folder = Path(folder) if Path(folder).is_dir() else Path(folder).parent
    if record.status != "finished":
        why = f" ({record.reason})" if record.reason else ""
        raise RecordError(
            f"{folder / RECORD_FILE}: this run is {record.status}{why}; only a finished run can be verified",
            path=folder,
        )
    lists = stored.read_lists(folder / stored.LISTS_FILE)
    spec = ResolvedSpec.from_dict(record.spec)
    data, split = load_data(spec, data_dir=data_dir, progress=progress)
    checks = [
        _check_spec_file(record, folder),
        Check("digest", record.intact, "" if record.intact else "the record is not what the run wrote: it was edited"),
        same("spec", record.spec_id, spec.spec_id),
        same("system", record.system_id, spec.system_id),
        same("data", record.fingerprints.get("data"), data.fingerprint()),
        same("split", record.fingerprints.get("split"), split.fingerprint),
        _same_values("facts of the data", record.data, describe_data(spec.dataset, data, split)),
        same("policies", sorted(record.policies), sorted(lists)),
        same("tier", record.tier, RESCORED if spec.baseline == LISTS else None),
    ]
    try:
        users = data.user_ids[split.test.user]
        rankings = {policy: part.ranking(users, data.item_ids) for policy, part in lists.items()}
    except (RecordError, InvalidRanking) as error:
        checks.append(Check("lists", False, str(error)))
        return VerifyReport(folder, record.spec_id, tuple(checks))
    checks.append(same("lists", record.fingerprints.get("lists"), stored.fingerprint(rankings, users, data.item_ids)))
    checks += _check_scores(record, folder, rankings, split)
    checks += _check_validity(record, folder, rankings, split)
    checks += _check_codes(record, folder)
    checks.append(_check_warnings(record, spec, data, split, rankings))
    return VerifyReport(folder, record.spec_id, tuple(checks))


def _check_spec_file(record: RunRecord, folder: Path) -> Check:
    """The spec beside the record is the record's."""
    try:
        told = json.loads((folder / "spec.json").read_text())
    except (OSError, ValueError) as error:
        return Check("spec.json", False, f"cannot be read: {error}")
    return Check("spec.json", told == record.spec, "" if told == record.spec else "another spec than the record's")


def same(name: str, told: Any, found: Any) -> Check:
    """A check that a recorded value equals the one found now, exactly."""
    if told == found:
        return Check(name, True, short(found))
    return Check(name, False, f"the record says {short(told)}, now it is {short(found)}")


def short(value: Any) -> str:
    """A value in a few characters."""
    text = "nothing" if value is None else str(value)
    return text if len(text) <= 60 else f"{text[:16]}..."


def _check_scores(record: RunRecord, folder: Path, rankings: Mapping[str, Ranking], split: Split) -> list[Check]:
    """Ranks and metrics of each policy, scored again; a mask list must hold none of the user's items."""
    queries, targets = split.queries(split.test), split.test.target
    top = ceiling(queries, targets)
    checks = []
    for policy, ranking in rankings.items():
        told = record.metrics.get(policy, {})
        metrics, ranks = score(ranking, targets)
        theirs = read_ranks(record.ranks.get(policy), folder)
        checks.append(_same_ranks(f"ranks.{policy}", theirs, ranks.tolist()))
        wrong = [same(key, told.get(key), value) for key, value in metrics.items() if told.get(key) != value]
        detail = "; ".join(f"{check.name}: {check.detail}" for check in wrong)
        checks.append(Check(f"metrics.{policy}", not wrong, detail or f"ndcg@10 {metrics['ndcg@10']:.4f}"))
        odd = contradictions(told, theirs, len(targets), top if policy == "mask" else None)
        checks.append(Check(f"possible.{policy}", not odd, "; ".join(odd)))
    if "mask" in rankings:
        seen = int(contained(rankings["mask"].items, queries.history).sum())
        checks.append(Check("mask", not seen, f"{seen} listed items belong to the user's own history" if seen else ""))
    return checks


def _same_ranks(name: str, told: Sequence[int], found: Sequence[int]) -> Check:
    if len(told) != len(found):
        return Check(name, False, f"{len(told)} ranks in the record, {len(found)} cases")
    differ = [case for case, (a, b) in enumerate(zip(told, found, strict=True)) if a != b]
    if not differ:
        return Check(name, True, f"{len(found)} cases")
    first = differ[0]
    return Check(name, False, f"{len(differ)} differ; case {first}: {told[first]} in the record, {found[first]} now")


def _check_validity(record: RunRecord, folder: Path, rankings: Mapping[str, Ranking], split: Split) -> list[Check]:
    """Validity of the search that serves policy `mask`, and each list again from what its search emitted."""
    history = split.queries(split.test).history
    if not (folder / stored.GENERATIONS_FILE).exists():
        if record.spec.get("baseline") is None or "mask" not in rankings:
            return [Check("validity", False, f"no {stored.GENERATIONS_FILE}: what was emitted cannot be counted again")]
        return [_same_values("validity", record.validity, validity_of_ranking(rankings["mask"], history))]
    searches = stored.read_generations(folder / stored.GENERATIONS_FILE)
    odd = [name for name, found in searches.items() if len(found) != len(history)]
    if odd or not searches:
        return [Check("validity", False, f"{stored.GENERATIONS_FILE} does not hold one search per test case")]
    by_policy = {policy: searches.get(policy, next(iter(searches.values()))) for policy in rankings}
    checks = [_same_values("validity", record.validity, validity(by_policy["mask"], history))]
    for policy, ranking in rankings.items():
        exclude = history if policy == "mask" else None
        again = ranking_from(by_policy[policy], depth=ranking.depth, exclude=exclude)
        equal = _equal(again, ranking)
        checks.append(Check(f"generations.{policy}", equal, "" if equal else "the lists are not what was emitted"))
    return checks


def _check_codes(record: RunRecord, folder: Path) -> list[Check]:
    """The kept index, and that the tokens of every hypothesis are the code of the item it claims, or of none."""
    if record.spec.get("baseline") is not None or not (folder / stored.GENERATIONS_FILE).exists():
        return []  # a generator's missing generations have failed the check `validity`
    try:
        index = Index.load(folder / "index")
    except (OSError, ValueError, KeyError, GenrecError, zipfile.BadZipFile) as error:
        return [Check("index", False, f"the index cannot be read: {error}")]
    codes = {code.tobytes(): item for item, code in enumerate(index.items.codes)}
    wrong = 0
    for found in stored.read_generations(folder / stored.GENERATIONS_FILE).values():
        emitted = found.items != NO_HYPOTHESIS
        tokens = np.ascontiguousarray(found.tokens[emitted], dtype=np.int32)
        unique, which = np.unique(tokens, axis=0, return_inverse=True)
        truth = np.array([codes.get(code.tobytes(), NOT_AN_ITEM) for code in unique], np.int32)
        wrong += int((truth[which.reshape(-1)] != found.items[emitted]).sum())
    told = same("index", record.fingerprints.get("index"), index.fingerprint)
    return [
        told,
        Check("codes", not wrong, f"{wrong} hypotheses claim another item than their code's" if wrong else ""),
    ]


def _check_warnings(
    record: RunRecord, spec: ResolvedSpec, data: Interactions, split: Split, rankings: Mapping[str, Ranking]
) -> Check:
    """What the record warns of, from the lists alone: short or missing lists made elsewhere, a canary that sings."""
    of_lists = spec.baseline == LISTS
    policy = record.policies[-1] if of_lists else "mask"  # what was handed in, or what the canary is compared by
    if policy not in rankings:
        return Check("warnings", False, f"no lists of policy {policy}")

    expected: list[str] = []
    if of_lists:
        expected = warnings((rankings[policy].items >= 0).sum(axis=1), spec.system)
    elif spec.baseline == CANARY:
        canary = IdCanary(make_config(IdCanary.Config, spec.options["baseline"], "baseline"))
        expected = canary_warnings(canary, data, split, spec.system, rankings[policy])

    if expected == list(record.warnings):
        return Check("warnings", True, "; ".join(expected) or "none")
    return same("warnings", "; ".join(record.warnings) or "nothing", "; ".join(expected) or "nothing")


def _same_values(name: str, told: Mapping[str, Any], found: Mapping[str, Any]) -> Check:
    wrong = [same(key, told.get(key), value) for key, value in found.items() if told.get(key) != value]
    return Check(name, not wrong, "; ".join(f"{check.name}: {check.detail}" for check in wrong))


def _equal(a: Ranking, b: Ranking) -> bool:
    width = max(a.items.shape[1], b.items.shape[1])
    wide = [np.pad(r.items, ((0, 0), (0, width - r.items.shape[1])), constant_values=-1) for r in (a, b)]
    return bool((wide[0] == wide[1]).all() and np.array_equal(a.scores[a.items >= 0], b.scores[b.items >= 0]))
