"""`qdq inspect`: the inspection of a model as a record, and its views as text, drawings and pipeline formats."""
