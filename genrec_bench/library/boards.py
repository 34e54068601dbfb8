"""A published board as an object."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from genrec_bench.core.files import expand_home
from genrec_bench.core.frames import data_frame
from genrec_bench.errors import RecordError, UsageError
from genrec_bench.leaderboard import conditions
from genrec_bench.leaderboard.columns import BOARD_DATA, NOTEBOOK, data_of, shown
from genrec_bench.leaderboard.headline import headline
from genrec_bench.leaderboard.publish import read_board
from genrec_bench.leaderboard.rows import Row
from genrec_bench.leaderboard.standings import Standings
from genrec_bench.library.shown import html_table
from genrec_bench.protocol.constants import SELECTION

if TYPE_CHECKING:
    import pandas as pd


class LoadedBoard:
    """A board under one history policy: `rows`, best first, and everything its pages say in `standings`."""

    def __init__(self, standings: Standings) -> None:
        self.standings = standings

    @property
    def rows(self) -> tuple[Row, ...]:
        """The rows, best first."""
        return self.standings.rows

    @property
    def headline(self) -> str:
        """One sentence on the best generator and untrained counting."""
        return headline(self.standings)

    @property
    def conditions(self) -> list[str]:
        """What holds for all rows, a sentence each."""
        return conditions.of_board(self.standings)

    def to_pandas(self) -> pd.DataFrame:
        """One row per system with the columns of `table.csv` (docs/boards.md). NeedsMissing without pandas."""
        rows = [data_of(row, BOARD_DATA) for row in self.rows]
        return data_frame({key: [row[key] for row in rows] for key in BOARD_DATA})

    def __repr__(self) -> str:
        board = self.standings.board
        best = f", best {self.rows[0].short_name} ({SELECTION} {self.rows[0].metrics[SELECTION]:.4f})"
        return f"<board {board.dataset}, {board.task}, {board.protocol}, policy {board.policy}: {len(self.rows)} rows{best}>"

    def _repr_html_(self) -> str:
        columns = shown(NOTEBOOK, self.rows)
        return html_table(
            [column.title for column in columns], [[column.show(row) for column in columns] for row in self.rows]
        )


def load_board(folder: Path | str, policy: str = "mask") -> LoadedBoard:
    """The board in `folder`, such as leaderboards/loo-full-1/direct/beauty, with all tests computed from its records.

    Warns of records that are left out. RecordError if there is no board; UsageError for an unknown policy.

    >>> load_board("leaderboards/loo-full-1/direct/beauty").to_pandas()  # doctest: +SKIP
    """
    folder = Path(expand_home(folder))

    def warn(error: RecordError) -> None:
        warnings.warn(f"left out: {error}", stacklevel=3)

    policies = {board.board.policy: board for board in read_board(folder, warn)} if folder.is_dir() else {}
    if not policies:
        raise RecordError(f"no board in {folder}: expected a folder with records/*.json", path=folder)
    if policy not in policies:
        raise UsageError(f"the board has no policy {policy!r}, only {', '.join(policies)}")
    return LoadedBoard(policies[policy])
