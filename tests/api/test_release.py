import httpx

from cartograph.releases import Manifest


def test_the_release_tells_what_it_was_made_from_and_which_features_its_model_takes(
    client: httpx.Client, manifest: Manifest
) -> None:
    release = client.get("/v1/release").json()
    assert release["release_id"] == manifest.release_id
    assert release["as_of"] == "2026-01-01"
    assert release["window"] == {"start": "2024-01-01T00:00:00Z", "end": "2026-01-01T00:00:00Z"}
    assert release["shop"] == {"name": "simulated", "title": "The simulated shop", "currency": "EUR"}
    assert release["customers"] == 1000
    assert release["snapshots"] == {"published.fct_orders": 7}
    model, fraud = release["models"][:2]
    assert (fraud["name"], fraud["version"]) == ("order_fraud", "2")
    assert (model["name"], model["version"]) == ("churn_classifier", "3")
    assert [feature["name"] for feature in model["features"]] == ["recency_days", "mean_gap_days", "is_opted_in"]
