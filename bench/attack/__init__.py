"""Mutated files against the command, each run in a process of its own: `python -m bench attack --runs 10000 --seed 0`.

A case is a number: with the seed it says which file is mutated, how, and which command reads it, so that
`--only NUMBER` does it again. What is looked for is in `trial.FINDINGS`.
"""
