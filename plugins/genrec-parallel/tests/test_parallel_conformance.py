"""The checks that genrec_bench ships for every backbone and every decoder."""

from typing import ClassVar

from genrec_bench import testing


class TestRPG(testing.BackboneConformance):
    component = "rpg"
    config: ClassVar = {
        "d_model": 32,
        "heads": 2,
        "d_ff": 64,
        "epochs": 20,
        "batch_size": 16,
        "learning_rate": 5e-3,
        "validate_every": 1,
    }


class TestRPGDirect(testing.BackboneConformance):
    component = "rpg"
    config: ClassVar = {**TestRPG.config, "temperature": 0.2}
    task = "direct"


class TestRPGExact(testing.DecoderConformance):
    component = "rpg-exact"
