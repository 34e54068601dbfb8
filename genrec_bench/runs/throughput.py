"""How fast a system recommends, with the conditions under which that was measured (protocol P20)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def throughput(seconds: Sequence[float], users: int, **conditions: Any) -> dict[str, Any]:
    """Users per second, and the 50th and 95th percentile of the latency of a batch, in milliseconds.

    `seconds` holds the wall time of each batch, `users` counts the users in all of them. `conditions` (batch size, beams,
    precision, device, threads, warm-up) are recorded as given.
    """
    total = float(np.sum(seconds))
    p50, p95 = (float(np.percentile(seconds, q)) * 1e3 for q in (50, 95))
    return {
        "users_per_second": users / total if total > 0 else None,
        "latency_ms_p50": p50,
        "latency_ms_p95": p95,
        **conditions,
    }
