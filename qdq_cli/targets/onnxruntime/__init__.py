"""ONNX Runtime's CPU provider: the operators its default session computes on integers."""
