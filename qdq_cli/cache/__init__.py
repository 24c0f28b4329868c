"""The calibration cache across machines: tie it to a model, look into it, compare, merge, exchange with other tools.

Only `model` and `fit` know ONNX; the other modules work on the file alone, so they start quickly and need no model.
"""
