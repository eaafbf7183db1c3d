"""The steps of the flows, one a file.

Each `execute` may be run again after a crash and then ends as it would have the first time; each
`revert` undoes only its own effect, and accepts that there was none (`result` may be anything).
"""
