"""Ranges that several options share, beside pydantic's `PositiveInt` and the like. Annotations only."""

from typing import Annotated

from pydantic import Field

Share = Annotated[float, Field(ge=0, lt=1)]
TwoOrMore = Annotated[int, Field(ge=2)]
