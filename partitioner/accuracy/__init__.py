"""From an accuracy budget to how sparsely each layer attends, by losses that were measured before."""
