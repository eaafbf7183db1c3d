"""Which process of the API takes a new connection."""

import os

from api import gunicorn_board


def test_the_one_that_serves_fewest() -> None:
    """What a process writes, the others read; one that has ended counts no more."""
    board = gunicorn_board.Board()
    board.serves(1, 3)
    assert board.is_least(1)
    if not (child := os.fork()):
        board.serves(2, 2)
        os._exit(0)
    os.waitpid(child, 0)
    assert (board.is_least(1), board.is_least(2)) == (False, True)
    board.serves(1, 2)
    assert board.is_least(1)
    assert board.is_least(2)
    board.serves(1, 3)
    board.leave(2)
    assert board.is_least(1)
