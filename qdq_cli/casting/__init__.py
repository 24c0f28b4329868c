"""Which tensors of a graph are FP32, FP16 or BF16, and the Casts between them."""
