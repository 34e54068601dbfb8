"""What the preparation of a data set left out, in words: for a run, its record and its table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

TOTALS = ("users", "items", "interactions")  # what is left out, for whatever reason
REASONS = {
    "users_below_3": "users with fewer than 3 interactions: {:,}",
    "duplicate_interactions": "rows that repeat another: {:,}",
    "interactions_below_min_rating": "interactions rated below min_rating: {:,}",
    "k_core_users": "users below min_interactions: {:,}",
    "k_core_items": "items below min_interactions: {:,}",
}
MUCH = 0.1  # a loss that is warned of


def loss(facts: Mapping[str, Any]) -> str:
    """What preparation left out, in one sentence; empty if nothing was.

    `facts` are `users`, `items` and `interactions` that are left, and `dropped`, as in records.
    """
    dropped = facts.get("dropped") or {}
    shares = [
        f"{dropped[name]:,} of {dropped[name] + facts[name]:,} {name} ({dropped[name] / (dropped[name] + facts[name]):.0%})"
        for name in TOTALS
        if dropped.get(name)
    ]
    reasons = [text.format(dropped[name]) for name, text in REASONS.items() if dropped.get(name)]
    return f"{', '.join(shares)} left out ({', '.join(reasons)})" if shares else ""


def heavy_loss(facts: Mapping[str, Any]) -> bool:
    """Whether more than a tenth of the users, items or interactions was left out."""
    dropped = facts.get("dropped") or {}
    return any(dropped.get(name, 0) > MUCH * (dropped.get(name, 0) + facts[name]) for name in TOTALS)
