"""`qdq sensitivity`: what each operator and each scale group costs the outputs when it alone is quantized."""
