"""The checks that genrec_bench ships for every decoder."""

from genrec_bench import testing


class TestDiverse(testing.DecoderConformance):
    component = "diverse"


class TestStochastic(testing.DecoderConformance):
    component = "stochastic"


class TestDebiased(testing.DecoderConformance):
    component = "debiased"
