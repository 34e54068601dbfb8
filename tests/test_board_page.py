"""index.html of a published board: opened in a browser it sorts, filters and switches, and asks nobody for anything."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from example_records import RANKS, baseline_spec, finished, generator_spec

from genrec_bench.leaderboard.publish import add, build
from genrec_bench.runs.record import RunRecord

HERE = Path(__file__).parent
BOARDS = HERE.parent / "leaderboards"
WIDTHS = (1400, 768, 390)
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
    return built(tmp_path, records)


def built(tmp_path: Path, records: Sequence[RunRecord]) -> Path:
    """The page of the board of some records."""
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
    """The systems that the visible table shows, from the top; decoders that are folded too."""
    (section,) = (part for part in re.findall(r"<section .*?</section>", dom, re.DOTALL) if not _hidden(part))
    table = section.partition("</thead>")[2].partition("</table>")[0]
    rows = [row for row in re.findall(r"<tr.*?</tr>", table, re.DOTALL) if not _hidden(row)]
    return [re.search(r'class="name"[^>]*>(.*?)<', row)[1] for row in rows]


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
    assert re.search(r'<div class="summary" data-policy="mask"[^>]*hidden', dom)


@pytest.mark.slow
def test_a_browser_filters_by_kind_and_by_part(page) -> None:
    assert shown(opened(page, "#kind=generator")) == ["sci / lightlm / trie"]
    assert shown(opened(page, "#kind=floor")) == ["item-counts", "popularity"]
    assert len(shown(opened(page, "#kind=anything"))) == 7  # no such choice: all


@pytest.mark.slow
def test_decoders_of_one_model_are_folded_below_the_best_and_found_by_a_search(tmp_path) -> None:
    records = [finished(generator_spec(decoder=name), ranks) for name, ranks in (("trie", RANKS), ("filter", WORSE))]
    page = built(tmp_path, [*records, finished(baseline_spec(), WORSE)])
    model = next(part for part in re.findall(r"<tbody.*?</tbody>", page.read_text(), re.DOTALL) if "decoder" in part)
    best, other = re.findall(r"<tr.*?</tr>", model)
    assert "1 more decoder<" in best and "sci / lightlm / filter" in other and 'decoder"' in other
    dom = opened(page, "#sort=system&dir=descending&filter=filter")
    assert shown(dom) == ["sci / lightlm / filter"] and dom.count('class="board searched"') == 2


def test_a_footnote_and_the_table_lead_to_each_other(page) -> None:
    assert not re.search("†\\d", page.read_text())
    folder = page.parents[3]
    entry = 'id = "one"\nwhat = "A <b>bold</b> one"\nlink = "https://example.org"\nrows = { indexer = "sci" }\n'
    (folder / "known-issues.toml").write_text(f"[[issue]]\n{entry}")
    build(folder, pytest.fail)
    text = page.read_text()
    for policy in ("mask", "keep"):
        (line,) = re.findall(rf'<tbody id="(line-{policy}-\w+)" data-kind="generator"', text)
        (note,) = re.findall(rf'<li id="issue-{policy}-1">.*', text)
        assert f'href="#{line}"' in note and "one: A &lt;b&gt;bold&lt;/b&gt; one (https://example.org)." in note
        assert text.count(f'<a href="#issue-{policy}-1">†1</a>') == 1


def test_a_command_can_be_copied_from_the_table_and_from_its_section(page) -> None:
    tags = Tags(page.read_text()).all
    commands = {attributes["id"] for tag, attributes in tags if tag == "pre" and "id" in attributes}
    copied = [attributes["data-copies"] for tag, attributes in tags if tag == "button" and "data-copies" in attributes]
    assert len(commands) == 3 and set(copied) == commands
    assert all(copied.count(command) == 3 for command in commands)  # two tables and a section


def test_without_javascript_both_policies_can_be_read(page) -> None:
    assert (
        "<noscript><style>.js { display: none !important; } [data-policy][hidden] { display: block" in page.read_text()
    )


@pytest.mark.slow
def test_a_link_to_a_row_opens_its_section(page) -> None:
    link = re.search(r'href="(#system-\w+)"', page.read_text())[1]
    assert re.search(rf'<details id="{link[1:]}" open', opened(page, link))


FRAMES = """<!doctype html><pre id="found"></pre><script>
const all = [];
addEventListener("message", (event) => { all.push(event.data); found.textContent = JSON.stringify(all); });
</script>"""


def laid_out(page: Path, folder: Path, style: str = "") -> dict[int, dict[str, Any]]:
    """By width: what a browser finds wrong with the page as it opens, and with everything in it opened."""
    script = (HERE / "board_layout.js").read_text()
    copy = folder / "copy.html"
    copy.write_text(f"{page.read_text()}<style>{style}</style><script>{script}</script>")
    frames = "".join(f'<iframe src="copy.html" width="{width}" height="900"></iframe>' for width in WIDTHS)
    (folder / "frames.html").write_text(FRAMES + frames)
    found = re.search(r'<pre id="found">(.*?)</pre>', opened(folder / "frames.html"), re.DOTALL)[1]
    return {found["width"]: found for found in json.loads(html.unescape(found))}


@pytest.fixture
def crowded(tmp_path) -> Path:
    """The page of a board with long names, options, several decoders and seeds, known issues and rows of papers."""
    long = "a-model-with-a-name-of-eighty-letters-" + "x" * 42
    options = {"dataset": {}, "baseline": {"before": 0.123456789, "recency": [1.0, 0.5, 0.25, 0.125, 0.0625, 0.03125]}}
    records = [
        finished(generator_spec(seed, decoder=name)) for seed in range(3) for name in ("trie", "filter", "exact")
    ]
    records += [finished(generator_spec(indexer=name), WORSE) for name in ("random", "a-very-long-name-of-an-indexer")]
    records += [finished(baseline_spec(baseline=name), WORSE) for name in ("item-counts", "popularity", "ease", long)]
    records.append(finished(baseline_spec(baseline="item-counts", options=options), warnings=["w" * 200]))
    page = built(tmp_path, records)

    boards = tmp_path / "boards"
    issue = 'id = "one"\nwhat = "It counts twice"\nlink = "https://example.org/1"\nrows = { dataset = "ml-100k" }\n'
    (boards / "known-issues.toml").write_text(f"[[issue]]\n{issue}[[issue]]\n{issue.replace('one', 'two')}")
    paper = 'dataset = "ml-100k"\ntask = "direct"\nsystem = "TIGER"\n"hit@10" = 0.5\nsource = "Somebody"\n'
    (boards / "reported.toml").write_text(
        f'[[row]]\n{paper}link = "https://example.org/"\ndiffers = "{"all of it " * 9}"\n'
    )
    build(boards, pytest.fail)
    return page


@pytest.mark.slow
def test_no_text_is_cut_or_lies_on_other_text_at_any_width(crowded, tmp_path) -> None:
    for page in (crowded, tmp_path / "boards" / "index.html"):
        by_width = laid_out(page, tmp_path)
        assert set(by_width) == set(WIDTHS)
        for width, found in by_width.items():
            assert found["closed"]["texts"] > 10
            assert found["closed"]["found"] == found["opened"]["found"] == [], (page, width)


@pytest.mark.slow
@pytest.mark.skipif(not BOARDS.is_dir(), reason="not a checkout: no leaderboards/ beside tests/")
@pytest.mark.parametrize("name", ["", "loo-full-1/sequential/ml-100k", "loo-full-1/direct/beauty"])
def test_the_committed_pages_are_laid_out_well(name, tmp_path) -> None:
    for width, found in laid_out(BOARDS / name / "index.html", tmp_path).items():
        assert found["closed"]["found"] == found["opened"]["found"] == [], width


@pytest.mark.slow
@pytest.mark.parametrize(
    ("style", "said"),
    [
        (".board tbody th { overflow: hidden; white-space: nowrap; max-width: 6rem; min-width: 0; }", "cut: "),
        (".chart .score { position: relative; left: -80%; }", "overlap: "),
        (".board .name { white-space: nowrap; overflow-wrap: normal; }", "outside the window: "),
        (".board tbody th { position: relative; left: 40px; }", "no score beside "),
        ("h1 { width: 1500px; }", "the page scrolls sideways"),
        (".chart .name { max-width: 2rem; white-space: nowrap; }", "leaves its A: "),
    ],
)
def test_a_bad_layout_is_found(crowded, tmp_path, style, said) -> None:
    found = [*laid_out(crowded, tmp_path, style)[390]["closed"]["found"]]
    assert any(line.startswith(said) for line in found), found
