"""The endpoints, one router for each noun: they translate between HTTP and `services`, and decide nothing."""
