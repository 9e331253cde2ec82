"""Training of the shipped model: byte-level text of Python's standard library, with some key-value recall."""
