"""Proof that imports are not lost: processes of a whole service are killed, and what is left is examined.

`python -m tests.chaos` runs rounds at random; docs/chaos.md says what a round is and what it demands.
"""
