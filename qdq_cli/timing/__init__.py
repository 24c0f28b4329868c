"""How fast a model is on this machine: two models in turn, medians, and how sure their ratio is."""
