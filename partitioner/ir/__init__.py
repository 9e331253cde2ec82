"""The partitioner's IR: ops over jaxpr equations, and what every pass must preserve."""
