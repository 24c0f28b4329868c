"""`qdq convert`: a model in FP16 or BF16 as far as its values allow, without quantizing it."""
