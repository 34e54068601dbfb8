"""The checks that genrec_bench ships for every decoder."""

from typing import ClassVar

from genrec_bench import testing


class TestDiverse(testing.DecoderConformance):
    component = "diverse"


class TestStochastic(testing.DecoderConformance):
    component = "stochastic"


class TestDebiased(testing.DecoderConformance):
    component = "debiased"


class TestCapturedTrie(testing.DecoderConformance):
    component = "captured-trie"
    config: ClassVar = {"capture": "on"}
