"""The definitions of this code location, one folder for a layer; `ecom_assets.definitions` loads them all."""
