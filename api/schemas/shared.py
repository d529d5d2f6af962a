"""Fields that many answers have, each with the example that stands for it in the document: one release of one shop."""

from datetime import date, datetime
from typing import Annotated

from pydantic import Field

ReleaseId = Annotated[str, Field(examples=["2026-01-01-0123456789ab"])]
AsOf = Annotated[date, Field(examples=["2026-01-01"])]
"""The day that a release's data lie before."""
Created = Annotated[datetime, Field(examples=["2026-01-01T04:12:30Z"])]
"""When the release was made."""
ModelVersion = Annotated[str, Field(examples=["3"])]
CustomerId = Annotated[str, Field(examples=["C00000008"])]
ProductId = Annotated[str, Field(examples=["P00000042"])]
OrderId = Annotated[str, Field(examples=["O00004711"])]
Probability = Annotated[float, Field(ge=0, le=1, examples=[0.37])]
FeatureValue = bool | int | float | str | None
Currency = Annotated[str, Field(examples=["EUR"])]
GitCommit = Annotated[str, Field(examples=["0f3c2a9d1b7e4c5a8d6f0b2e9a1c3d5f7b8e6a40"])]
