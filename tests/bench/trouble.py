"""What keeps the bench from measuring."""


class Trouble(RuntimeError):
    """Something cannot be measured; the text says why, and what to do where there is something to do."""
