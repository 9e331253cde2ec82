"""The devices a plan names: ``gpu`` and ``host`` compute with JAX, ``csd`` attends in a drive, ``null`` only counts."""
