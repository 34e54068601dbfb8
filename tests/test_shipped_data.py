"""The shipped data sets and their splits are those of `loo-full/1`: whatever moves one of them needs a new protocol id."""

import json
import os
from pathlib import Path

import pytest

from genrec_bench.data.loading import load_dataset
from genrec_bench.protocol.constants import PROTOCOL
from genrec_bench.protocol.split import split_data

BOARDS = Path(__file__).resolve().parents[1] / "leaderboards"

PINNED = {  # data, split
    "ml-100k": (
        "aeb6b9315d4a22f2b41bcc6b0e8494205d5d103dc5a66f242a68fe2d7ad7e611",
        "fdfe35a78d97d145a606b1469d76e2114c90c0f500709fcf05b8142734a5322e",
    ),
    "beauty": (
        "b79405a57f6cea77296bbc9a075b6df1d213e0779e46b2e513a70e6e234d6638",
        "1d0cd2b6516050ab961912c07759ac3c10c8418147a6894991cbeb1cb8b5acf8",
    ),
    "toys": (
        "e0a6294312d47bd8339fc3e531d72f8325ac66389a20b7357f61450bf1d9e74d",
        "d5f739275a9951aebb45307ae97435f6962174422e265aaab57258c1a86d1e3c",
    ),
    "yelp": (
        "b58e39014f23df3a6299378957e54681586647b8d1793c757a92d1def62c3033",
        "e8ef5300f9399222a118dd73f80c1391b080637953a5a7382f701172a3164228",
    ),
}


@pytest.mark.usefixtures("movielens")
@pytest.mark.parametrize("name", PINNED)
def test_a_shipped_data_set_and_its_split_are_the_pinned_ones(name: str) -> None:
    if name != "ml-100k" and not os.environ.get("GENREC_DATA"):
        pytest.skip("GENREC_DATA names no folder with the published files")
    data, split = split_data(load_dataset(name))
    assert PROTOCOL == "loo-full/1"
    assert (data.fingerprint(), split.fingerprint) == PINNED[name]


def test_every_record_on_a_board_is_of_a_pinned_data_set() -> None:
    of_records = {}
    for file in BOARDS.glob("loo-full-1/*/*/records/*.json"):
        record = json.loads(file.read_text(encoding="utf-8"))
        of_records[file] = record["spec"]["dataset"], record["fingerprints"]
    assert of_records

    others = [
        str(file)
        for file, (name, fingerprints) in of_records.items()
        if (fingerprints["data"], fingerprints["split"]) != PINNED[name]
    ]
    assert not others
