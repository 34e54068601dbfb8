"""The check of `Backbone.fixed_start`: the two halves of a start do what the whole does, in shapes that are asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from genrec_bench.host.contracts import Backbone
from genrec_bench.testing.backbones import TOLERANCE
from genrec_bench.testing.kit import (
    NotApplicable,
    Subject,
    check,
    expect,
)
from genrec_bench.testing.networks import (
    call,
    first,
    fitted,
    queries_of,
)

MORE_USERS, MORE_TOKENS = 3, 5


@check("backbone")
def a_fixed_start_is_a_start(subject: Subject) -> None:
    """Sources padded by `fixed_start`, if there is one, get the logits that they get from `start`, within 1e-4, and tensors
    of the shapes asked for, whatever the sources are."""
    this = fitted(subject)
    backbone, batch = this.backbone, this.template.render(queries_of(subject))
    fixed = backbone.fixed_start()
    if fixed is None:
        raise NotApplicable("fixed_start gives None: it is decoded step by step")
    asked = len(batch) + MORE_USERS, int(batch.lengths.max()) + MORE_TOKENS
    given, alone = (fixed.pad(some, *asked) for some in (batch, batch.take(np.arange(1))))
    shapes = [[(tuple(part.shape), part.dtype, part.device.type) for part in parts] for parts in (given, alone)]
    expect(
        shapes[0] == shapes[1] and all(device == "cpu" for *_, device in shapes[0]),
        f"pad gave {shapes[0]} and {shapes[1]} for {asked[0]} users and {asked[1]} tokens",
        "Shapes depend on `users` and `length` alone; the tensors are on the CPU.",
    )
    state = fixed.start(*(part.to(backbone.device) for part in given))
    padded, plain = _walked(backbone, state, asked[0]), _walked(backbone, backbone.start(batch), len(batch))
    expect(
        torch.allclose(padded[: len(batch)], plain, rtol=TOLERANCE, atol=TOLERANCE),
        "padded sources get other logits than the same sources from `start`",
        "Mask the tokens and the users that `pad` adds.",
    )


def _walked(backbone: Backbone, state: Any, users: int) -> torch.Tensor:
    """Logits of the first call and of two hypotheses after it, (users, 3, n_tokens)."""
    before, state = first(backbone, state, users)
    after, _ = call(backbone, state, users, [0, 1], [0, 0])
    return torch.cat([before, after], 1)
