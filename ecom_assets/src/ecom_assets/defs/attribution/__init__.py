"""Assets about which channel an order is owed to; the credits that SQL can reckon are marts of the dbt project."""
