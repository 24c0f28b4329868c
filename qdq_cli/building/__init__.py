"""`qdq build`: a model built ahead of time by NVIDIA's compiler, in a process of its own, beside what is predicted."""
