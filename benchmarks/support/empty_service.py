"""What FastAPI costs without us: endpoints with the parameters and body models of ours, which do nothing.

`python benchmarks/support/empty_service.py PORT`: run by uvicorn as `python -m api` runs ours, without middleware,
response models and access log.
"""

from __future__ import annotations

import sys
from typing import Annotated

import uvicorn
from fastapi import FastAPI, Path, Query

from api.schemas.predictions import PredictionRequest

CustomerId = Annotated[str, Path(min_length=1, max_length=128)]
Limit = Annotated[int, Query(ge=1, le=20)]
app = FastAPI()


@app.get("/ready")
async def ready() -> None:
    """As our own: the benchmark waits for it."""


@app.post("/v1/predict/churn")
async def predict(request: PredictionRequest) -> None:
    """Takes the body of a prediction."""


@app.get("/v1/customers/{customer_id}")
async def customer(customer_id: CustomerId) -> None:
    """Takes the path of a customer."""


@app.get("/v1/customers/{customer_id}/recommendations")
async def recommendations(customer_id: CustomerId, limit: Limit = 10) -> None:
    """Takes the path and the query of recommendations."""


if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]), log_level="warning", server_header=False)
