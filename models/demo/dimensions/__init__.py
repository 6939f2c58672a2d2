"""One module per dimension: its prompts, its training text, its rows in the pack.

Each has `PROMPTS` (its part of prompts.json), `shape(rng)` (a whole conversation in the evaluator's
shape), `fact(rng)` (one fact in few tokens) and `fill(rng, pack)` (rows with held-out fillers).
"""
