"""ONNX model files: load, check, name, fingerprint, write."""
