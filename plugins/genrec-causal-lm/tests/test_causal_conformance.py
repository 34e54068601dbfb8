"""What every backbone promises, as the toolkit itself checks it."""

from genrec_causal_lm.backbone import CausalLM

from genrec_bench import testing


class TestCausalLM(testing.BackboneConformance):
    component = CausalLM
    config = {"layers": 2, "d_model": 32, "heads": 2, "d_ff": 64, "epochs": 10, "learning_rate": 5e-3}  # noqa: RUF012
