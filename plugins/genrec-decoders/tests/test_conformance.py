"""The checks that genrec_bench ships for every decoder; skipped where the installed one has none yet."""

import pytest

testing = pytest.importorskip("genrec_bench.testing")
DecoderConformance = testing.DecoderConformance


class TestDiverse(DecoderConformance):
    component = "diverse"


class TestStochastic(DecoderConformance):
    component = "stochastic"


class TestDebiased(DecoderConformance):
    component = "debiased"


del DecoderConformance  # the base class itself is no test
