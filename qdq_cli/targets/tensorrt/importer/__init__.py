"""What TensorRT's ONNX importer reads and refuses, as one table by operator, type, form and release."""
