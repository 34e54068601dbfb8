"""What torch backbones share: weights on disk, counting, and what is said before there are any."""

import pytest
import torch
from torch import nn

from genrec_bench.api import TorchBackbone


class Small(TorchBackbone):
    """A network without a search."""

    def build(self, facts):
        return nn.Sequential(nn.Embedding(facts["rows"], 2), nn.Linear(2, 3), nn.BatchNorm1d(3))

    def facts(self):
        return {"rows": self.net[0].num_embeddings}

    def template(self, *_, **__):
        raise NotImplementedError

    fit = start = advance = template


def placed(rows=5):
    backbone = Small()
    backbone.place(backbone.build({"rows": rows}), "cpu")
    return backbone


def test_weights_and_buffers_come_back_ready_to_decode(tmp_path):
    backbone, other = placed(), Small()
    backbone.net[2].running_mean.fill_(7)
    backbone.save(tmp_path / "new" / "folder")
    other.load(tmp_path / "new" / "folder")
    assert not other.net.training and other.device == "cpu"
    for name, value in backbone.net.state_dict().items():
        assert torch.equal(value, other.net.state_dict()[name])
    assert {path.name for path in (tmp_path / "new" / "folder").iterdir()} == {"weights.safetensors", "network.json"}


def test_loading_leaves_the_global_random_numbers_alone(tmp_path):
    placed().save(tmp_path)
    before = torch.get_rng_state()
    Small().load(tmp_path)
    assert torch.equal(torch.get_rng_state(), before)


def test_embeddings_are_counted_apart_and_frozen_parameters_not_at_all():
    backbone = placed()
    assert backbone.parameters_count() == {"embedding": 10, "other": 9 + 6}
    backbone.net[1].requires_grad_(False)
    assert backbone.parameters_count() == {"embedding": 10, "other": 6}


@pytest.mark.parametrize(
    "use", [lambda b, folder: b.net, lambda b, folder: b.save(folder), lambda b, _: b.parameters_count()]
)
def test_before_fit_and_load_it_says_that_there_are_no_weights(tmp_path, use):
    with pytest.raises(RuntimeError, match="no weights yet: fit or load it first"):
        use(Small(), tmp_path)


def test_weights_of_another_network_are_refused(tmp_path):
    placed(rows=5).save(tmp_path)
    (tmp_path / "network.json").write_text('{"rows": 6}')
    with pytest.raises(ValueError, match="belong to another network"):
        Small().load(tmp_path)
