"""The passes from a traced phase to a graph of named ops with raised attention."""
