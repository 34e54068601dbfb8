"""index.html of a published board: opened in a browser it sorts, filters and switches, and asks nobody for anything."""

from __future__ import annotations

import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest
from example_records import RANKS, baseline_spec, finished, generator_spec

from genrec_bench.leaderboard.publish import add, build

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
WORSE = (9, 3, 0, 12, 4, 0, 0, 2, 7, 0)


@pytest.fixture
def page(tmp_path) -> Path:
    """The page of a board of three systems, one of them with two seeds."""
    records = [
        finished(),
        finished(generator_spec(1), RANKS),
        finished(baseline_spec(baseline="item-counts"), WORSE),
        finished(baseline_spec(baseline="popularity"), (0, 0, 0, 12, 4, 0, 0, 2, 7, 0), warnings=["<script>alert(1)"]),
    ]
    for record in records:
        record.write(tmp_path / "runs" / record.spec_id)
    add([tmp_path / "runs"], tmp_path / "boards", pytest.fail, check=False)
    (folder,) = build(tmp_path / "boards", pytest.fail)
    return folder / "index.html"


class Tags(HTMLParser):
    """All tags with their attributes, and whether each is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.all: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs) -> None:
        self.all.append((tag, dict(attrs)))
        if tag not in ("meta", "input"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs) -> None:
        self.all.append((tag, dict(attrs)))

    def handle_endtag(self, tag) -> None:
        assert self.open.pop() == tag


def test_the_page_is_well_formed_and_asks_nobody_for_anything(page) -> None:
    text = page.read_text()
    tags = Tags(text)
    assert tags.open == []
    assert not re.search(r"https?:|//cdn|@import|url\(", text)
    assert not {"link", "img", "iframe"} & {tag for tag, _ in tags.all}
    assert all(attributes.get("href", "#").startswith("#") for _, attributes in tags.all)
    assert "src" not in {name for _, attributes in tags.all for name in attributes}
    assert "default-src 'none'" in text


def test_tables_say_what_their_headings_head(page) -> None:
    tags = Tags(page.read_text()).all
    heads = [attributes for tag, attributes in tags if tag == "th"]
    assert heads and all(head.get("scope") in ("col", "row") for head in heads)
    assert sum(tag == "caption" for tag, _ in tags) == 2


def test_every_link_leads_to_a_section_of_the_page(page) -> None:
    tags = Tags(page.read_text()).all
    there = {attributes["id"] for _, attributes in tags if "id" in attributes}
    links = {attributes["href"].removeprefix("#") for tag, attributes in tags if tag == "a"}
    assert links and links <= there


def test_what_a_record_says_is_text_never_markup(page) -> None:
    assert "<script>alert" not in page.read_text()
    assert "&lt;script&gt;alert(1)" in page.read_text()


def test_a_row_can_be_run_again_from_its_section(page) -> None:
    assert "genrec run --dataset ml-100k --task direct --indexer sci --backbone lightlm" in page.read_text()


def opened(page: Path, state: str = "") -> str:
    """The page's DOM after its script ran, from a browser with neither network nor profile."""
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine: apt-get install chromium")
    words = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={page.parent / 'profile'}"]
    words += ["--proxy-server=127.0.0.1:9", "--virtual-time-budget=2000", "--dump-dom", f"file://{page}{state}"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout


def shown(dom: str) -> list[str]:
    """The systems that the visible table shows, from the top."""
    (section,) = (part for part in re.findall(r"<section .*?</section>", dom, re.DOTALL) if not _hidden(part))
    body = section.partition("<tbody>")[2].partition("</tbody>")[0]
    rows = [row for row in re.findall(r"<tr.*?</tr>", body, re.DOTALL) if not _hidden(row)]
    return [re.sub("<.*?>", "", re.search(r"<th.*?</th>", row)[0]) for row in rows]


def _hidden(markup: str) -> bool:
    return " hidden" in markup.partition(">")[0]


@pytest.mark.slow
def test_a_browser_shows_all_rows_best_first(page) -> None:
    dom = opened(page)
    assert shown(dom)[:3] == ["sci / lightlm / trie", "item-counts", "popularity"]
    assert ">7 of 7 rows<" in dom  # with the mandatory ones without a run


@pytest.mark.slow
def test_a_browser_sorts_by_what_the_address_says_and_keeps_the_unmeasured_last(page) -> None:
    dom = opened(page, "#sort=ndcg@10&dir=ascending")
    assert shown(dom)[:3] == ["popularity", "item-counts", "sci / lightlm / trie"]
    assert len(re.findall(r'<th [^>]*aria-sort="ascending"', dom)) == 2  # in both policies' tables
    assert set(shown(dom)[3:]) == {"id-canary", "bpr", "lightgcn", "simplex"}


@pytest.mark.slow
def test_a_click_on_a_heading_sorts(page) -> None:
    click = "document.querySelector('th[data-name=\"system\"] button').click();"
    page.write_text(page.read_text().replace("\nread();\n", f"\nread();\n{click}\n"))
    assert shown(opened(page)) == sorted(shown(opened(page)))


@pytest.mark.slow
def test_a_browser_filters_and_switches_the_history_policy(page) -> None:
    dom = opened(page, "#policy=keep&filter=LightLM")
    assert shown(dom) == ["sci / lightlm / trie"]
    assert ">1 of 7 rows<" in dom
    assert re.search(r'<section data-policy="mask"[^>]*hidden', dom)
    (plot,) = re.findall(r"<svg .*?</svg>", dom.partition('data-policy="keep"')[2], re.DOTALL)
    marks = {re.search(r'aria-label="(.*?):', mark)[1]: mark for mark in re.findall(r"<a .*?>", plot)}
    gone = {name for name, mark in marks.items() if "display: none" in mark}
    assert gone == {"item-counts", "popularity"} == set(marks) - {"sci / lightlm / trie"}


@pytest.mark.slow
def test_a_link_to_a_row_opens_its_section(page) -> None:
    link = re.search(r'href="(#system-\w+)"', page.read_text())[1]
    assert re.search(rf'<details id="{link[1:]}" open', opened(page, link))
