"""The dbt project as assets: one step that builds what was asked for of it."""
