"""`qdq tune`: which operators to leave float so that a target is met at the smallest cost in INT8 work.

`budget` solves the choice exactly for given estimates, `search` corrects the estimates by measured variants, `evaluate`
asks the user's own program.
"""
