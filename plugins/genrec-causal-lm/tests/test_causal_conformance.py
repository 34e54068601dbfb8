"""What every backbone promises, as the toolkit itself checks it."""

import pytest

testing = pytest.importorskip("genrec_bench.testing")

from genrec_causal_lm.backbone import CausalLM  # noqa: E402


class TestCausalLM(testing.BackboneConformance):
    component = CausalLM
    config = {"layers": 2, "d_model": 32, "heads": 2, "d_ff": 64, "epochs": 10, "learning_rate": 5e-3}  # noqa: RUF012
