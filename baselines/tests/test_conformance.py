"""The checks that genrec_bench ships for every baseline, over one model that counts and one that is trained."""

import pytest

from genrec_bench.testing import BaselineConformance

pytestmark = pytest.mark.slow


class TestItemKNN(BaselineConformance):
    component = "itemknn"


class TestGRU4Rec(BaselineConformance):
    component = "gru4rec"
    config = {"epochs": 2, "extra": ("MAX_ITEM_LIST_LENGTH=10", "hidden_size=16")}  # noqa: RUF012
    expected_failures = {  # noqa: RUF012
        "tiny_data_is_ranked": "a step from one item to the next is learnt from two training items of one user"
    }


del BaselineConformance  # the base class itself is no test
