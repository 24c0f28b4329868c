"""TensorRT for RTX: what its builder does otherwise than TensorRT on a server."""
