"""Compare a float model with its quantized form: outputs, shared tensors, and what each layer adds to the error."""
