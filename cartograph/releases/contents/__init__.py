"""The files of a shop's release: their names and their schemas, which the release asset writes and the API reads.

Both sides share this package, by its modules, so that they cannot drift. How a release is stored is the rest of
`cartograph.releases`; how features, models and effects are computed is `ml_assets`.

| file | content |
|---|---|
| `shop.json` | `ShopCard` |
| `customers.arrow` | Arrow IPC file: one row for each customer, see `write_customers` and `mark_personal` |
| `models/churn_classifier.onnx` | the model: input `features` float32 [n, k], output `probabilities` [n, 2] |
| `models/churn_classifier.json` | `ModelCard`: the model's features in the order of its input, and its metrics |
| `models/order_fraud.onnx`, `models/order_fraud.json` | likewise: the model of `POST /v1/orders/risk` |
| `models/purchase_propensity.onnx`, `models/purchase_propensity.json` | likewise: of `POST /v1/predict/propensity` |
| `models/customer_lifetime_value.parameters.json` | the fitted model as `ml_assets.core` reads it: numbers and dates |
| `models/customer_lifetime_value.json` | `ModelCard` of it |
| `models/<name>.explanation.json` | `Explainer`: by what the model's predictions are split among its features |
| `models/product_recommender.arrow` | Arrow IPC file: a row for each product, which `ml_assets.core` reads and scores |
| `models/product_recommender.json` | `ModelCard`, without features |
| `recommendations.arrow` | Arrow IPC file: one row for each customer, see `RECOMMENDATION_COLUMNS` |
| `similar_products.arrow` | Arrow IPC file: one row for each product, see `SIMILAR_COLUMNS` |
| `products.arrow` | Arrow IPC file: one row for each product that was sold or in stock, see `write_product_features` |
| `demand.arrow` | Arrow IPC file: one row for each product and day ahead, `DEMAND_COLUMNS`, see `write_products` |
| `models/demand_forecaster.json` | `ModelCard` of what made it |
| `reorder.arrow` | Arrow IPC file: one row for each product whose stock is known, `REORDER_COLUMNS` |
| | all of a model are absent where the shop's history, or what it delivers, is too little for it |
| `models/<name>/card.md` | the card of each model for people; its pictures are the SVG files in the same folder |
| `models/<name>.onnx`, `models/<name>.json` | a shop's own model likewise: of `POST /v1/predict/<name>` |
| `predictions.arrow` | Arrow IPC file: one row for each customer of whom one was asked, see `PREDICTION_COLUMNS` |
| `effects.json` | `EFFECTS`: a list of `Effect`, one for each causal question that the shop has the data for |
| `causal/<question>/memo.md` | the decision memo of each; its pictures are the SVG files in the same folder |
| `policies.json` | `POLICIES`: a list of `TreatmentPolicy`; absent where no question has one |
| `budget.json` | `Budget`: absent where the shop's spend on paid channels does not show what it does |
| `kpis.json` | `KPI_LIST`: a list of `Kpi`, the figures that the shop has; absent without a day, as the files below |
| `kpis.arrow` | Arrow IPC file: a row for each dimension, value and day, see `KPI_COLUMNS` |
| `kpi_customers.arrow` | likewise, what customers are counted from, see `KPI_CUSTOMER_COLUMNS` |
| `lineage.json` | `Lineage`: the assets that the release is made of, and what each is made of |
| `experiments.json` | `EXPERIMENTS`: a list of `ExperimentResult`; absent where the shop has no experiment |
| `experiments/<name>/memo.md` | the memo of each; its pictures are the SVG files in the same folder |
| `models/<name>.schema.json` | the JSON schema of what each model of a POST takes, see `input_schema` |
| `golden.json` | `Golden`: requests, and what the service must answer to them before it serves the release |
| `order_history.arrow` | what the fraud model's features are made of, by keys: `cartograph.releases.order_history` |
"""
