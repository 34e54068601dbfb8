"""What a person means by a run, a system or a row of a board: a path, `BOARD:SYSTEM`, or the first letters of an id."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from genrec_bench.core.files import expand_home
from genrec_bench.errors import RecordError, did_you_mean
from genrec_bench.leaderboard.publish import read_records
from genrec_bench.leaderboard.records import collect, unfinished
from genrec_bench.leaderboard.rows import Row, boards
from genrec_bench.runs.record import RECORD_FILE, RunRecord

SHORTEST = 4  # letters of an id that is not written out


def find(text: str, out: Path) -> list[RunRecord]:
    """The finished runs of one system that `text` names: one run, or all its seeds.

    `text` is a run folder, a record file, or a folder of runs of one system; `BOARD:SYSTEM`, the folder of a board and the name
    of a row or its `system_id`; or the first letters of a `spec_id` (one run) or `system_id` (all seeds) among the runs in
    `out`. RecordError says what was found instead.
    """
    folder, _, system = text.rpartition(":")
    if (path := Path(expand_home(text))).exists():
        found = collect([path])
    elif folder and (board := Path(expand_home(folder))).is_dir():
        found = _row(board, system)
    else:
        found = _by_id(text, out)

    if said := unfinished(found):
        found = [record for record in found if record.status == "finished"]
        if not found:
            raise RecordError(f"{text}: {said}", path=None)
    if len({record.system_id for record in found}) > 1:
        names = sorted({record.system for record in found})
        raise RecordError(f"{text} holds runs of several systems ({', '.join(names)}): name one of them", path=None)
    return found


def _row(board: Path, system: str) -> list[RunRecord]:
    refused: list[RecordError] = []
    rows: Sequence[Row] = [row for one in boards(read_records(board, refused.append)) for row in one.rows]
    named = [row for row in rows if system in (row.system, row.full_name, row.short_name)]
    named = named or [row for row in rows if len(system) >= SHORTEST and row.system_id.startswith(system)]
    if len(named) == 1:
        return list(named[0].runs)
    if named:
        options = "; ".join(row.short_name for row in named)
        raise RecordError(f"{board} has {len(named)} rows of {system!r}: write one as {options}", path=board)
    hint = did_you_mean(system, [row.system for row in rows])
    unread = f" {len(refused)} of its records cannot be read." if refused else ""
    raise RecordError(f"{board} has no row {system!r}.{hint}{unread}", path=board)


def _by_id(text: str, out: Path) -> list[RunRecord]:
    folders = [file.parent for file in sorted(out.glob(f"*/{RECORD_FILE}"))]
    by_run = [folder for folder in folders if len(text) >= SHORTEST and folder.name.startswith(text)]
    if len(by_run) == 1:
        return collect(by_run)
    if by_run:
        names = ", ".join(folder.name for folder in by_run)
        raise RecordError(f"several runs in {out} begin with {text}: {names}", path=out)

    seeds = [record for record in collect(folders) if len(text) >= SHORTEST and record.system_id.startswith(text)]
    if seeds:
        return seeds
    raise RecordError(
        f"no path {text}, and no run or system in {out} whose id begins so; see `genrec runs {out}`", path=out
    )
