"""Which tensors get Q/DQ, where the nodes stand, and why others stay float."""
