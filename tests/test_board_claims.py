"""The tests behind comparative sentences: what a mark may claim, and what has none."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner
from example_records import RANKS, baseline_spec, finished, generator_spec

from genrec_bench.cli.main import cli
from genrec_bench.leaderboard.claims import MISSING, claims_of
from genrec_bench.leaderboard.publish import add
from genrec_bench.protocol.statistics import holm
from genrec_bench.runs.record import RunRecord

ROOT = Path(__file__).parents[1]
BOARD = "loo-full-1/direct/ml-100k"
MANY = 5
BETTER = (1, 1, 3, 2, 2, 0, 4, 1, 5, 0)
CLOSE = (1, 2, 0, 12, 3, 0, 0, 1, 7, 0)


def counted(name: str, ranks: Sequence[int]) -> RunRecord:
    made = {"baseline": {"name": name, "distribution": "genrec-bench", "version": "1", "code": "c" * 64}}
    return finished(baseline_spec(baseline=name), ranks * MANY, parameters={}, components=made)


@pytest.fixture(scope="module")
def boards(tmp_path_factory) -> Path:
    """A board of three closed forms and a generator with one seed."""
    folder = tmp_path_factory.mktemp("claims")
    records = [counted("ease", BETTER), counted("item-counts", RANKS), counted("popularity", CLOSE)]
    for record in (*records, finished(generator_spec(), RANKS * MANY)):
        record.sealed().write(folder / "runs" / record.spec_id)
    add([folder / "runs"], folder / "boards", pytest.fail, check=False)
    return folder / "boards"


@pytest.fixture
def told(boards, tmp_path):
    """The claims of a text."""

    def read(text: str):
        (tmp_path / "page.md").write_text(text)
        return claims_of([tmp_path / "page.md"], boards)

    return read


@pytest.mark.parametrize(
    ("claim", "why"),
    [
        ("ease ahead of item-counts", ""),
        ("item-counts behind ease", ""),
        ("item-counts level with popularity", ""),
        ("item-counts ahead of ease", "it is the other way round"),
        ("item-counts ahead of popularity", "it may be chance"),
        ("ease level with item-counts", "they differ by more than chance"),
        ("sci / lightlm / trie behind ease", "one seed cannot tell"),
        ("sci / lightlm / trie level with ease", ""),
        ("bpr ahead of ease", "has no row 'bpr'"),
        ("ease beats popularity", "write BOARD: A ahead of|behind|level with B"),
    ],
)
def test_a_claim_holds_if_a_test_supports_it(told, claim, why):
    (found,) = told(f"One is ahead of the other by more than chance.<!-- claim {BOARD}: {claim} -->\n")
    assert found.sentence == "One is ahead of the other by more than chance."
    assert (found.why == "") == (why == "") and why in found.why


def test_p_values_are_corrected_for_all_claims_on_a_board(told):
    marks = (
        f"<!-- claim {BOARD}: ease ahead of item-counts --> <!-- claim {BOARD}: popularity level with item-counts -->"
    )
    first, second = told(f"EASE leads.{marks}")
    raw = [one.comparison.difference.p for one in (first, second)]
    assert [first.p, second.p] == holm(raw) and first.p > raw[0]


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("`ease` is ahead of counting.", 1),
        ("Of all generators none ranks higher. Another sentence.", 1),
        ("EASE scores 12 % above popularity.", 1),
        ("`ease` is ahead of counting.<!-- no claim: about speed -->", 0),
        ("The table below has `ease` and counting.", 0),
        ("It is better to wait.", 0),
        ("```\n`ease` is ahead of counting.\n```\n\n| `ease` is ahead of counting. |\n\n# EASE is ahead\n", 0),
    ],
)
def test_a_comparative_sentence_without_a_mark_is_found(told, text, count):
    found = told(text)
    assert [claim.why for claim in found] == [MISSING] * count


def test_the_command_lists_sentences_and_fails_where_one_has_no_support(boards, tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"EASE is ahead of counting.<!-- claim {BOARD}: ease ahead of item-counts -->\n")
    words = ["leaderboard", "claims", str(page), "--boards", str(boards)]
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 0 and "EASE is ahead of counting." in done.stdout and "yes" in done.stdout
    page.write_text(page.read_text().replace("ease ahead of", "ease behind"))
    done = CliRunner().invoke(cli, [*words, "--format", "md"])
    assert done.exit_code == 1 and "it is the other way round" in done.stdout


@pytest.mark.skipif(not (ROOT / "leaderboards").is_dir(), reason="not a checkout: no leaderboards/ beside tests/")
def test_every_comparative_sentence_here_has_its_support():
    pages = (
        "README.md",
        "docs/results.md",
        "docs/commands.md",
        "docs/components.md",
        "docs/check-a-number.md",
        "docs/recipes.md",
    )
    found = claims_of([ROOT / page for page in pages], ROOT / "leaderboards")
    assert [(claim.sentence, claim.text, claim.why) for claim in found if claim.why] == []
    assert sum(claim.comparison is not None for claim in found) >= 5
