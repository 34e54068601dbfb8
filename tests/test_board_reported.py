"""Rows of papers stand below a board: with their source, without a rank, and only if somebody can have measured them."""

from __future__ import annotations

from pathlib import Path

import pytest
from example_records import baseline

from genrec_bench.errors import RecordError
from genrec_bench.leaderboard import reported
from genrec_bench.leaderboard.columns import NOT_MEASURED
from genrec_bench.leaderboard.publish import add, build
from genrec_bench.leaderboard.reported import read

BOARDS = Path(__file__).resolve().parents[1] / "leaderboards"
ROW = {
    "dataset": "ml-100k",
    "task": "direct",
    "system": "A paper's",
    "hit@10": 0.2,
    "ndcg@10": 0.1,
    "source": "Somebody | 2020",
    "link": "https://example.org/a?b=c",
    "differs": "all of it",
}


def written(folder: Path, **changes: object) -> Path:
    entry = {key: value for key, value in {**ROW, **changes}.items() if value is not None}
    lines = [
        f'"{key}" = {value}' if isinstance(value, float) else f'"{key}" = "{value}"' for key, value in entry.items()
    ]
    folder.mkdir(exist_ok=True)
    (folder / reported.FILE).write_text("[[row]]\n" + "\n".join(lines) + "\n")
    return folder


def test_a_board_shows_the_rows_of_its_data_set_and_task_below_its_own(tmp_path: Path) -> None:
    run = tmp_path / "run"
    baseline().sealed().write(run)
    boards = tmp_path / "boards"
    (board,) = {path.parent.parent for path in add([run], boards, pytest.fail, check=False)}
    written(boards)
    build(boards, pytest.fail)

    table, _, papers = (board / "README.md").read_text().partition("## Reported by papers")
    assert "A paper's" not in table
    nothing = NOT_MEASURED
    source = "[Somebody \\| 2020](https://example.org/a?b=c)"
    assert f"| A paper's | {nothing} | {nothing} | 0.2000 | 0.1000 | {source} | all of it |" in papers
    link = '<a href="https://example.org/a?b=c">Somebody | 2020</a>'
    assert (board / "index.html").read_text().count(link) == 1  # not once a policy
    assert "A paper" not in (board / "table.csv").read_text()

    written(boards, task="sequential")
    build(boards, pytest.fail)
    assert "Reported by papers" not in (board / "README.md").read_text()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"source": None}, "source is missing"),
        ({"link": " "}, "link is missing"),
        ({"differs": None}, "differs is missing"),
        ({"link": "javascript:alert(1)"}, "link is an address that begins with https://"),
        ({"ndcg@10": 0.3}, "nobody can have measured this: ndcg@10 0.3000 is above hit@10 0.2000"),
        ({"hit@5": 0.25}, "hit@5 0.2500 is above hit@10 0.2000"),
        ({"hit@10": 20.0}, "is not a share"),
        ({"hit@10": None, "ndcg@10": None}, "give at least one of"),
        ({"sources": "x"}, "no key 'sources'. Did you mean 'source'?"),
    ],
)
def test_a_row_without_its_source_or_with_impossible_numbers_is_refused(
    tmp_path: Path, changes: dict[str, object], said: str
) -> None:
    with pytest.raises(RecordError) as refused:
        read(written(tmp_path, **changes))
    assert str(refused.value).startswith("reported.toml, row A paper's: ") and said in str(refused.value)


def test_the_committed_rows_can_be_read() -> None:
    assert len(read(BOARDS)) > 20 and read(BOARDS / "nowhere") == ()
