"""Attribution that SQL is the wrong tool for: pure functions over published marts, no Dagster."""
