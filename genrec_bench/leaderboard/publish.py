"""Boards in a folder: takes records in, and writes README.md, table.csv and index.html from what lies beside them.

A board is `leaderboards/<protocol>/<task>/<dataset>/`; the slash of a protocol's id becomes a hyphen. Beside its `records/`
may lie `notes.txt` (people's remarks, a sentence a line, printed among the conditions), `tie-orders.json` (baselines under
other orders of equal timestamps) and `ledger.jsonl` (the trials of `genrec tune`). Beside the protocols may lie
`known-issues.toml`, and lie the pages over all boards, README.md and index.html. Knows nothing of how boards look.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from genrec_bench.core.files import disk_trouble, write_json, write_text
from genrec_bench.core.progress import Progress
from genrec_bench.errors import RecordError, UsageError
from genrec_bench.leaderboard import known_issues, reported, tie_orders, tuning_budget
from genrec_bench.leaderboard.facts import name_of
from genrec_bench.leaderboard.records import (
    RECORDS,
    Refuse,
    check_intact,
    check_possible,
    collect,
    machine_paths,
    with_ranks,
)
from genrec_bench.leaderboard.rows import BOARD_BEAMS, dataset_key
from genrec_bench.leaderboard.standings import Standings, marked, standings, with_reruns
from genrec_bench.protocol.constants import POLICIES, PROTOCOLS
from genrec_bench.runs.record import RECORD_FILE, RunRecord
from genrec_bench.runs.spec import ResolvedSpec

RERUNS = "reruns"  # second runs of what is on the board
FOLDER_NAME = re.compile(r"\w[\w.@:+ -]{0,99}")  # no separator, and no dot at its beginning
NOTES = "notes.txt"


def board_folder(root: Path, record: RunRecord) -> Path:
    """Where a record's board lies. RecordError if a name is not that of a folder inside `root`."""
    protocol = str(record.spec["protocol"]).replace("/", "-")
    folder = root
    for name in (protocol, str(record.spec["task"]), str(record.spec["dataset"])):
        if not FOLDER_NAME.fullmatch(name):
            raise RecordError(
                f"{name_of(record)}: {name[:60]!r} is not a name that a folder of boards can have", path=None
            )
        folder /= name
    return folder


def board_folders(root: Path) -> list[Path]:
    """The folders of the boards under `root`. UsageError if there are none."""
    folders = sorted(folder.parent for folder in root.rglob(RECORDS) if any(folder.glob("*.json")))
    if not folders:
        raise UsageError(f"no board in {root}: `genrec leaderboard add RUN... --to {root}` starts one")
    return folders


# --- records in -------------------------------------------------------------------------------------------------------


def add(runs: Iterable[Path], root: Path, refuse: Refuse, check: bool = True, again: bool = False) -> list[Path]:
    """Copy the records of `runs` (run folders, or folders of them) into the boards under `root`, ranks inside.

    `again`: they are second runs of what is on the boards, which tell whether a row is *reproduced*. Unless `check` is off, each run is first scored again from its stored lists. What no board can show is handed to
    `refuse`. The host and process that wrote a record are left out,
    and the digests of files that stay in the run folder. Returns the files written, or already there.
    """
    added = []

    for path in runs:
        for folder in _run_folders(path):
            try:
                added.append(_add(folder, root, check, again))
            except RecordError as error:
                refuse(error)
            except Exception as error:  # one run that cannot be read must not cost the others
                if disk := disk_trouble(error, root):
                    raise disk from error  # no run is to blame
                reason = " ".join(str(error).split())
                refuse(RecordError(f"{folder}: {type(error).__name__}: {reason}", path=folder))
    return added


def _run_folders(path: Path) -> list[Path]:
    """The run folders that a path means; a path that means none is handed on as it is, to be refused by name."""
    if (path / RECORD_FILE).exists() or path.is_file():
        return [path]
    return sorted(file.parent for file in path.glob(f"*/{RECORD_FILE}")) or [path]


def _add(path: Path, root: Path, check: bool, again: bool) -> Path:
    (record,) = collect([path])
    check_publishable(record)
    if check:
        _check_lists(record, path)

    record = replace(record, process={}, stored={})
    if machine_path := next(machine_paths(record.to_dict()), None):
        raise RecordError(f"{name_of(record)} names a path that exists on its machine only: {machine_path}", path=path)

    folder = board_folder(root, record) / RECORDS
    file = folder / f"{record.spec_id}.json"
    for present in sorted(folder.glob("*.json")):
        _check_fits(record, path, present, replaces=present == file and not again)

    if again:
        _check_second(record, file)
        file = folder.with_name(RERUNS) / file.name
        write_json(file, record.sealed().to_dict())
    elif not file.exists():
        write_json(file, record.sealed().to_dict())
    return file


def _check_fits(record: RunRecord, path: Path, file: Path, replaces: bool) -> None:
    """RecordError unless a record fits one that is already on its board; `replaces` says that both are of one run."""
    present, board = RunRecord.read(file), file.parent.parent

    if replaces:
        check_intact(present, file)
        if (present.metrics, present.ranks) != (record.metrics, record.ranks):
            raise RecordError(
                f"{name_of(record)} is on the board with other numbers: if it is a second run, add it with --again; else remove "
                f"{file} first, and say why",
                path=path,
            )

    for key in ("data", "split"):
        if present.fingerprints.get(key) != record.fingerprints.get(key):
            raise RecordError(
                f"{name_of(record)} ran on other data ({key}) than the board in {board}: it cannot join it", path=path
            )

    if dataset_key(present) != dataset_key(record):
        raise RecordError(
            f"{name_of(record)} has other options of the data set than the board in {board}: it cannot join it",
            path=path,
        )


def _check_second(record: RunRecord, file: Path) -> None:
    """RecordError unless the run in `file` is on its board and another one than `record`."""
    if not file.exists():
        raise RecordError(f"{name_of(record)} is not on a board: add its first run without --again", path=file)
    if RunRecord.read(file).environment.get("time") == record.environment.get("time"):
        raise RecordError(f"{name_of(record)} is the very run that is on the board, not a second one", path=file)


def check_publishable(record: RunRecord) -> None:
    """RecordError naming the run if no board may show it: unfinished, another protocol, impossible, edited, too narrow."""
    name = name_of(record)
    if record.status != "finished":
        reason = f" ({record.reason})" if record.reason else ""
        raise RecordError(f"{name} is {record.status}{reason}: only a finished run has a row", path=None)
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

    failed = [comparison for comparison in verify(path).comparisons if not comparison.ok]
    differences = [f"{comparison.name} ({comparison.detail})" for comparison in failed]
    if differences:
        raise RecordError(f"{name_of(record)} differs when scored again: {'; '.join(differences)}", path=path)


def add_ledger(path: Path, root: Path) -> list[Path]:
    """Append the trials in the ledger `path` to the ledgers of the boards under `root`; the files written.

    RecordError, and nothing is written, for a ledger that fails a check, or trials that belong to no board.
    """
    boards = {}
    for folder in board_folders(root):
        first = min((folder / RECORDS).glob("*.json"))
        boards[folder] = RunRecord.read(first)
    return tuning_budget.add(path, boards)


def measure_ties(
    root: Path, refuse: Refuse, data_dir: Path | None = None, progress: Progress | None = None
) -> list[Path]:
    """Measure baselines of every board under `root` (or of the board `root`) under other tie orders: `tie-orders.json`.

    A board whose interactions do not tie is handed to `refuse` where it is the only one, and skipped among others.
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


# --- boards out -------------------------------------------------------------------------------------------------------


def build(root: Path, refuse: Refuse, documents: Iterable[Path] = ()) -> list[Path]:
    """Write every board under `root` anew, and `README.md` and `index.html` over all of them; the folders of the boards.

    `documents` are Markdown files that show the tops of boards (`renderers.markdown.renew`); they are renewed. A record
    that no board can show is handed to `refuse`, named on its board and left out. UsageError if there are no boards;
    RecordError for a board whose runs ran on different data, or a registry of known issues that cannot be read.
    """
    from genrec_bench.leaderboard.renderers import data, html, markdown

    folders = board_folders(root)
    boards = {folder: policies for folder in folders if (policies := read_board(folder, refuse))}
    for folder, policies in boards.items():
        _write(folder / "README.md", markdown.readme(policies))
        _write(folder / "table.csv", data.board_csv(policies))
        _write(folder / "index.html", html.page(policies))

    by_name = {folder.relative_to(root).as_posix(): policies[0] for folder, policies in boards.items()}
    if root not in folders:
        _write(root / "README.md", markdown.front_page(by_name))
        _write(root / "index.html", html.front_page(by_name))
    for document in documents:
        _write(document, markdown.renew(document.read_text(encoding="utf-8"), by_name))
    return list(boards)


def _write(path: Path, text: str) -> None:
    write_text(path, text)


def read_board(folder: Path, refuse: Refuse) -> list[Standings]:
    """The board in `folder` under each history policy, the default one first; empty if no record can be shown."""
    refused: list[str] = []

    def leave_out(error: RecordError) -> None:
        refused.append(str(error))
        refuse(error)

    records = read_records(folder, leave_out)
    if not records:
        return []

    root = folder.resolve().parents[2]  # beside the protocols
    issues, papers, remarks = known_issues.read(root), reported.read(root), _remarks(folder)
    boards = [standings(records, policy) for policy in POLICIES]  # lists made elsewhere may have one policy only
    policies = [replace(marked(board, issues), remarks=remarks) for board in boards if board.rows]
    policies = [replace(standing, reported=reported.of_board(papers, standing.board)) for standing in policies]
    policies = [with_reruns(standing, read_records(folder, leave_out, RERUNS)) for standing in policies]
    try:
        policies = _with_ties(policies, folder)
    except RecordError as error:
        leave_out(error)
    try:
        policies = _with_tuning(policies, folder, records)
    except RecordError as error:
        leave_out(error)
    return [_with_refused(standing, refused) for standing in policies]


def _with_ties(policies: list[Standings], folder: Path) -> list[Standings]:
    """The board with its tie orders, if anybody measured them."""
    return [replace(standing, ties=tie_orders.read(folder, standing.board)) for standing in policies]


def _with_tuning(policies: list[Standings], folder: Path, records: list[RunRecord]) -> list[Standings]:
    """The board with what its ledger says of tuning."""
    budget = tuning_budget.read(folder, records[0])
    sentences = tuple(tuning_budget.sentences(budget, records))

    def with_trials(standing: Standings) -> Standings:
        rows = tuple(replace(row, trials=tuning_budget.trials_of(row.runs[0], budget)) for row in standing.rows)
        return replace(standing, board=replace(standing.board, rows=rows), tuning=sentences)

    return [with_trials(standing) for standing in policies]


def _with_refused(standing: Standings, refused: list[str]) -> Standings:
    """The board with the reasons why records have no row."""
    board = standing.board
    return replace(standing, board=replace(board, refused=(*board.refused, *refused)))


def read_records(folder: Path, refuse: Refuse, where: str = RECORDS) -> list[RunRecord]:
    """The records of the board in `folder`, ranks inside; what it cannot show is handed to `refuse`."""
    records = []
    for file in sorted((folder / where).glob("*.json")):
        try:
            records.append(_read(file, folder))
        except RecordError as error:
            refuse(RecordError(f"{file.name}: {str(error).replace(f'{file.parent}/', '')}", path=file))
    return records


def _read(file: Path, folder: Path) -> RunRecord:
    stored = RunRecord.read(file)
    record = with_ranks(stored, file.parent)
    check_publishable(record)
    check_intact(stored, file)

    if file.stem != record.spec_id:
        raise RecordError(f"{name_of(record)} lies under another name, so it may count twice: remove it", path=file)
    board = board_folder(Path(), record)
    if folder.resolve().parts[-len(board.parts) :] != board.parts:
        raise RecordError(f"{name_of(record)} belongs to the board {board.as_posix()}, not to this one", path=file)
    return record


def _remarks(folder: Path) -> tuple[str, ...]:
    """What people noted of a board, a sentence each."""
    notes = folder / NOTES
    lines = notes.read_text(encoding="utf-8").splitlines() if notes.exists() else []
    return tuple(line.strip() for line in lines if line.strip())
