"""What `qdq cache` does with calibration caches: show, hold against a model, compare and convert them."""
