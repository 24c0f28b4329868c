"""The first qdq.toml of a model, drafted from what the model tells and what its user answers."""
