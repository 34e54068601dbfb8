"""A backbone as decoders get it: its own methods and facts, and its errors under its name."""

import pytest
import torch
from fakes import PrefixBackbone, sources

from genrec_bench.errors import ComponentFault
from genrec_bench.host.registry import find
from genrec_bench.runs.handover import Watched


class BreaksDown(PrefixBackbone):
    def start(self, batch):
        raise ZeroDivisionError("no sources today")


def watched(backbone):
    return Watched(backbone, find("backbone", "lightlm"), 6)


def test_what_a_backbone_offers_beside_its_contract_is_passed_on():
    backbone = PrefixBackbone(6)
    handed_over = watched(backbone)
    assert handed_over.network is backbone and handed_over.device == "cpu"
    assert torch.equal(*handed_over.pad(sources([3, 4]), 2, 9), torch.tensor([3, 4]))
    assert not hasattr(handed_over, "no_such_thing")


@pytest.mark.parametrize(
    "call", [lambda b: b.start(sources([1])), lambda b: b.start_padded(torch.zeros(1, dtype=torch.long))]
)
def test_an_error_in_any_of_its_methods_is_the_backbones_fault(call):
    with pytest.raises(ComponentFault, match=r"backbone 'lightlm'.*no sources today"):
        call(watched(BreaksDown(6)))
