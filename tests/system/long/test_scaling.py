"""More workers do more: web-downloads from a server that gives each connection 20 MB/s."""

from tests.chaos import scaling


def test_eight_workers_do_the_work_of_seven() -> None:
    one, eight = scaling.measure(1), scaling.measure(8)
    table = "\n".join(["", one.line(one), eight.line(one)])
    print(table)
    assert eight.rate >= 7 * one.rate, table
