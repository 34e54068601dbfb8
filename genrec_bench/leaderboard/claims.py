"""Comparative sentences of documents, and the tests behind them.

A document marks each sentence that compares systems with what it claims, in a comment that readers do not see:

    EASE ranks better than popularity.<!-- claim loo-full-1/direct/ml-100k: ease ahead of popularity -->

`behind` and `level with` are the other relations; `keep` after the board's name means that policy. A sentence that compares
something else says what: `<!-- no claim: about speed -->`. Knows boards and Markdown, and prints nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from genrec_bench.errors import RecordError
from genrec_bench.leaderboard.comparison import Comparison, compare
from genrec_bench.leaderboard.selection import find
from genrec_bench.protocol.constants import LEVEL
from genrec_bench.protocol.statistics import holm

MARK = re.compile(r"<!-- (claim|no claim)\b:? ?(.*?) -->", re.DOTALL)
CLAIM = re.compile(
    r"(?P<board>\S+?)(?: (?P<policy>keep))?: (?P<one>.+?) (?P<relation>ahead of|behind|level with) (?P<other>.+)"
)
AFTER_ITS_STOP = re.compile(r"([.!?])((?:\s*<!-- (?:claim|no claim)\b.*?-->)+)", re.DOTALL)
NO_PROSE = re.compile(
    r"^```.*?^```|!\[.*?\]\(.*?\)|^ *\|.*?$|^#.*?$|<!-- (board|finding) .*?<!-- end of \1 -->|<!-- (?!claim|no claim).*?-->",
    re.S | re.M,
)
SENTENCE_END = re.compile(r"(?<=[.!?])[\s*]+(?=[A-Z`*\[(\x00])|\n\s*\n|\n(?=\s*[-*] )")
COMPARES = re.compile(
    r"\b(ahead|behind|better|worse|best|beats?|outperform\w*|higher|lower|told from|level with|more than chance)\b|% (?:above|below)\b",
    re.IGNORECASE,
)
SYSTEMS = re.compile(
    r"\b(generators?|floors?|baselines?|counting|counts|popularity|EASE|SASRec|CORE|LightGCN|systems?)\b|`[^`]+`"
)
MISSING = "no claim is marked"


@dataclass(frozen=True)
class Claim:
    """A sentence, what it claims, and what a test says. Without `text` the sentence lacks its mark.

    `p` is corrected for all claims on the same board (Holm); None where one seed cannot tell. `why` says what is wrong, and
    is empty if the claim holds.
    """

    document: str
    sentence: str
    text: str = ""
    board: str = ""
    comparison: Comparison | None = None
    p: float | None = None
    why: str = ""


def claims_of(documents: Iterable[Path], boards: Path) -> list[Claim]:
    """All comparative sentences of Markdown documents with their tests; `boards` is the folder that board names start from."""
    found = [claim for path in documents for claim in _read(path, boards)]
    tested: dict[str, list[int]] = {}
    for number, claim in enumerate(found):
        if claim.comparison and claim.comparison.difference:
            tested.setdefault(claim.board, []).append(number)

    for numbers in tested.values():
        p_values = [found[number].comparison.difference.p for number in numbers]  # type: ignore[union-attr]  # just checked
        for number, p in zip(numbers, holm(p_values), strict=True):
            found[number] = replace(found[number], p=p)
    return [replace(claim, why=claim.why or _wrong(claim)) for claim in found]


def _read(path: Path, boards: Path) -> Iterator[Claim]:
    text = NO_PROSE.sub("\n\n", path.read_text(encoding="utf-8"))
    text = AFTER_ITS_STOP.sub(lambda match: match[2] + match[1], text)

    for part in SENTENCE_END.split(text):
        marks = MARK.findall(part)
        sentence = " ".join(MARK.sub("", part).split())
        if not marks and COMPARES.search(sentence) and SYSTEMS.search(sentence):
            yield Claim(path.name, sentence, why=MISSING)
        for kind, content in marks:
            if kind == "claim":
                yield _tested(path.name, sentence, " ".join(content.split()), boards)


def _tested(document: str, sentence: str, text: str, boards: Path) -> Claim:
    parts = CLAIM.fullmatch(text)
    if parts is None:
        return Claim(document, sentence, text, why="write BOARD: A ahead of|behind|level with B")

    board = boards / parts["board"]
    try:
        one, other = (find(f"{board}:{parts[side]}", boards) for side in ("one", "other"))
        comparison = compare(one, other, parts["policy"] or "mask")
    except RecordError as error:
        return Claim(document, sentence, text, parts["board"], why=str(error))
    return Claim(document, sentence, text, parts["board"], comparison)


def _wrong(claim: Claim) -> str:
    """Why a test does not support a claim; empty if it does."""
    found = claim.comparison and claim.comparison.difference
    if " level with " in claim.text:
        return "" if claim.p is None or claim.p > LEVEL else f"they differ by more than chance (p = {claim.p:.2g})"
    if not found or claim.p is None:
        return "one seed cannot tell"
    if claim.p > LEVEL:
        return f"it may be chance (p = {claim.p:.2g})"
    ahead = " ahead of " in claim.text
    return "" if ahead == (found.value > 0) else "it is the other way round"
