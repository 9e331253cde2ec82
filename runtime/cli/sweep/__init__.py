"""``instinfer plan --sweep``: one setting over a range of values, planned for each."""
