"""ONNX Runtime on the CPU: sessions, bound buffers, batches run on every core, tensors taken out."""
