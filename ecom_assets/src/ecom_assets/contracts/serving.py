"""Contract of what the service itself delivers: the log of its predictions. No shop's source delivers it."""

from cartograph.contracts import Column, Contract

PREDICTION_LOG = Contract(
    dataset="prediction_log",
    grain="A score that a model gave to a request of the API, sampled.",
    key=("prediction_id",),
    event_time="predicted_at",
    steady="false",
    enables="comparing what is served with what was scored",
    columns=(
        Column(name="prediction_id", type="string", description="The process that predicted, and a number."),
        Column(name="predicted_at", type="timestamp", description="When."),
        Column(name="model", type="string", description="The model's name, as in the registry."),
        Column(name="model_version", type="string", description="Its version."),
        Column(name="release_id", type="string", description="The release that it was served from."),
        Column(name="score", type="double", description="What it answered: a probability, or an amount."),
    ),
)
