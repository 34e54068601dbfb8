"""Boards in a folder: takes records in, and writes README.md, table.csv and index.html from what lies in `records/`.

`leaderboards/<protocol>/<task>/<dataset>/`; the slash of a protocol's id becomes a hyphen. Beside `records/` may lie
`notes.txt`, for people: each line stands among the board's conditions; and `yardstick.json`, the floors under other tie
orders; `ledger.jsonl`, the trials of `genrec tune`. Beside the protocols may lie `known-issues.toml`. Knows nothing of tables.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from genrec_bench.core.files import write_json
from genrec_bench.core.progress import Progress
from genrec_bench.errors import RecordError, UsageError
from genrec_bench.leaderboard import issues, ledger, tie_orders
from genrec_bench.leaderboard.excerpt import renew
from genrec_bench.leaderboard.pages import FILES, front_page
from genrec_bench.leaderboard.records import (
    check_intact,
    check_possible,
    collect,
    name_of,
    places,
)
from genrec_bench.leaderboard.rows import BOARD_BEAMS, dataset_key
from genrec_bench.leaderboard.standings import Standings, marked, standings
from genrec_bench.protocol.constants import POLICIES, PROTOCOLS
from genrec_bench.protocol.ranks import read_ranks
from genrec_bench.runs.record import RECORD_FILE, RunRecord
from genrec_bench.runs.spec import ResolvedSpec

RECORDS = "records"
NOTES = "notes.txt"  # beside the records: what to know of the whole board, a sentence a line

Refuse = Callable[[RecordError], None]


def board_folder(root: Path, record: RunRecord) -> Path:
    """Where a record's board lies."""
    return (
        root / str(record.spec["protocol"]).replace("/", "-") / str(record.spec["task"]) / str(record.spec["dataset"])
    )


def add(runs: Iterable[Path], root: Path, refuse: Refuse, check: bool = True) -> list[Path]:
    """Copy the records of `runs` (run folders, or folders of them) into the boards under `root`, ranks inside.

    Unless `check` is off, each run is scored again from its stored lists first. What no board can show is handed to
    `refuse`. The host and process that wrote a record stay behind. The files written, or that were there already.
    """
    added = []
    for path in runs:
        for folder in _runs(path):
            try:
                added.append(_add(folder, root, check))
            except RecordError as error:
                refuse(error)
    return added


def _runs(path: Path) -> list[Path]:
    """The run folders that a path means; a path that means none is handed on as it is."""
    if (path / RECORD_FILE).exists() or path.is_file():
        return [path]
    return sorted(file.parent for file in path.glob(f"*/{RECORD_FILE}")) or [path]


def _add(path: Path, root: Path, check: bool) -> Path:
    (record,) = collect([path])
    check_publishable(record)
    if check:
        _check_lists(record, path)
    record = replace(record, process={})
    if place := next(places(record.to_dict()), None):
        raise RecordError(f"{name_of(record)} names a place on its machine, which nobody else has: {place}", path=path)
    folder = board_folder(root, record) / RECORDS
    file = folder / f"{record.spec_id}.json"
    for other in sorted(folder.glob("*.json")):
        theirs = RunRecord.read(other)
        if other == file:
            check_intact(theirs, file)
        if other == file and (theirs.metrics, theirs.ranks) != (record.metrics, record.ranks):
            raise RecordError(
                f"{name_of(record)} is on the board with other numbers: remove {file} first, and say why", path=path
            )
        for key in ("data", "split"):
            if theirs.fingerprints.get(key) != record.fingerprints.get(key):
                raise RecordError(
                    f"{name_of(record)} ran on other data ({key}) than the board in {folder.parent}: it cannot join it",
                    path=path,
                )
        if dataset_key(theirs) != dataset_key(record):
            raise RecordError(
                f"{name_of(record)} has other options of the data set than the board in {folder.parent}: it cannot join it",
                path=path,
            )
    if not file.exists():
        write_json(file, record.sealed().to_dict())
    return file


def add_ledger(path: Path, root: Path) -> list[Path]:
    """Append the trials in the ledger `path` to the ledgers of the boards under `root`; the files written.

    RecordError, and nothing is written, for a ledger that does not hold, or trials of which there is no board.
    """
    first = {folder: next(iter(sorted((folder / RECORDS).glob("*.json")))) for folder in board_folders(root)}
    return ledger.add(path, {folder: RunRecord.read(file) for folder, file in first.items()})


def check_publishable(record: RunRecord) -> None:
    """RecordError naming the run if no board may show it: unfinished, another protocol, impossible, edited, too narrow."""
    name = name_of(record)
    if record.status != "finished":
        why = f" ({record.reason})" if record.reason else ""
        raise RecordError(f"{name} is {record.status}{why}: only a finished run has a row", path=None)
    if record.spec.get("protocol") not in PROTOCOLS:
        raise RecordError(
            f"{name} ran under protocol {record.spec.get('protocol')}, this version has {', '.join(PROTOCOLS)}",
            path=None,
        )
    check_possible(record)
    try:
        spec = ResolvedSpec.from_dict(record.spec)
    except UsageError as error:
        raise RecordError(f"{name}: {error}", path=None) from None
    if (spec.spec_id, spec.system_id) != (record.spec_id, record.system_id):
        raise RecordError(f"{name}: its spec has another id ({spec.spec_id}): it was edited; run it again", path=None)
    beams = record.spec.get("beams")
    if beams is not None and beams < BOARD_BEAMS:
        raise RecordError(f"{name} has {beams} beams, a board needs {BOARD_BEAMS}", path=None)


def _check_lists(record: RunRecord, path: Path) -> None:
    """RecordError unless the run's stored lists give the record's numbers."""
    from genrec_bench.runs.verify import verify

    wrong = [f"{check.name} ({check.detail})" for check in verify(path).checks if not check.ok]
    if wrong:
        raise RecordError(f"{name_of(record)} does not hold when scored again: {'; '.join(wrong)}", path=path)


def board_folders(root: Path) -> list[Path]:
    """The folders of the boards under `root`. UsageError if there are none."""
    folders = sorted(folder.parent for folder in root.rglob(RECORDS) if any(folder.glob("*.json")))
    if not folders:
        raise UsageError(f"no board in {root}: `genrec leaderboard add RUN... --to {root}` starts one")
    return folders


def build(root: Path, refuse: Refuse, documents: Iterable[Path] = ()) -> list[Path]:
    """Write every board under `root` anew, and the list of boards `root/README.md`; the folders of the boards.

    `documents` are Markdown files that show the tops of boards (`genrec_bench.leaderboard.excerpt`); they are renewed.

    A record that no board can show is handed to `refuse`, named on its board and left out. UsageError if there are no
    boards; RecordError for a board whose runs ran on different data, or a registry of known issues that cannot be read.
    """
    folders = board_folders(root)
    made = []
    boards = [(folder, read_board(folder, refuse)) for folder in folders]
    for folder, policies in boards:
        if policies:
            made.append((folder.relative_to(root).as_posix(), policies[0]))
            for name, page in FILES.items():
                (folder / name).write_text(page(policies), encoding="utf-8", newline="\n")
    if root not in folders:
        (root / "README.md").write_text(front_page(made), encoding="utf-8", newline="\n")
    for document in documents:
        text = renew(document.read_text(encoding="utf-8"), dict(made))
        document.write_text(text, encoding="utf-8", newline="\n")
    return [root / name for name, _ in made]


def read_board(folder: Path, refuse: Refuse) -> list[Standings]:
    """The board in `folder` under each history policy, the default one first; empty if no record can be shown."""
    refused: list[str] = []

    def leave_out(error: RecordError) -> None:
        refused.append(str(error))
        refuse(error)

    records = read_records(folder, leave_out)
    if not records:
        return []
    made = [replace(standings(records, policy), remarks=_remarks(folder)) for policy in POLICIES]
    known = issues.read(folder.resolve().parents[2])  # beside the protocols
    made = [marked(each, known) for each in made]
    try:
        ties = [tie_orders.read(folder, each.board) for each in made]
        made = [replace(each, ties=found) for each, found in zip(made, ties, strict=True)]
    except RecordError as error:
        leave_out(error)
    try:
        budget = ledger.read(folder, records[0])
        made = [replace(each, tuning=tuple(ledger.told(budget, records))) for each in made]
    except RecordError as error:
        leave_out(error)
    return [replace(each, board=replace(each.board, refused=(*each.board.refused, *refused))) for each in made]


def read_records(folder: Path, refuse: Refuse) -> list[RunRecord]:
    """The records of the board in `folder`, ranks inside; what it cannot show is handed to `refuse`."""
    records = []
    for file in sorted((folder / RECORDS).glob("*.json")):
        try:
            records.append(_read(file, folder))
        except RecordError as error:
            refuse(RecordError(f"{file.name}: {str(error).replace(f'{file.parent}/', '')}", path=file))
    return records


def _remarks(folder: Path) -> tuple[str, ...]:
    notes = folder / NOTES
    lines = notes.read_text(encoding="utf-8").splitlines() if notes.exists() else []
    return tuple(line.strip() for line in lines if line.strip())


def measure_ties(
    root: Path, refuse: Refuse, data_dir: Path | None = None, progress: Progress | None = None
) -> list[Path]:
    """Measure the floors of every board under `root` (or of the board `root`) under other tie orders: `yardstick.json`.

    A board whose events do not tie is handed to `refuse` where it is the only one, and passed over among others.
    """
    folders, written = board_folders(root), []
    for folder in folders:
        records = read_records(folder, refuse)
        if len(folders) > 1 and not any(record.data.get("tie_users") for record in records):
            continue
        try:
            written.append(tie_orders.measure(records, folder, data_dir=data_dir, progress=progress))
        except RecordError as error:
            refuse(error)
    return written


def _read(file: Path, folder: Path) -> RunRecord:
    record = RunRecord.read(file)
    ranks = {policy: read_ranks(record.ranks.get(policy), file.parent) for policy in record.policies}
    check_publishable(replace(record, ranks=ranks))
    check_intact(record, file)
    record = replace(record, ranks=ranks)
    if file.stem != record.spec_id:
        raise RecordError(f"{name_of(record)} lies under another name, so it may count twice: remove it", path=file)
    place = board_folder(Path(), record)
    if folder.resolve().parts[-len(place.parts) :] != place.parts:
        raise RecordError(f"{name_of(record)} belongs to the board {place.as_posix()}, not to this one", path=file)
    return record
