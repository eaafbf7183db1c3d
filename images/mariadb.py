"""What MariaDB and MySQL are told when a connection is made, and how it is made in a tenth of the time."""

import ssl
from typing import Any

import sqlalchemy as sa
from pymysql import connections  # type: ignore[import-untyped]

from images import packing


def arguments(idle: int) -> dict[str, Any]:
    """What the driver is given besides the URL; a transaction may stand still for `idle` seconds.

    MariaDB would rather intersect three indexes than walk the one that holds a list in its order, collect
    all images that have a tag than look at those that it meets on the way, and keep what it has found out
    about each, though it meets none of them twice. What stands in the comment is read by MariaDB alone; MySQL
    has no such limit and switches.
    """
    own = "optimizer_switch = 'index_merge=off,exists_to_in=off,subquery_cache=off'"
    return {
        "init_command": "SET SESSION optimizer_switch = 'index_merge=off' "
        f", group_concat_max_len = {packing.MOST} "
        f"/*M!100300 , {own} , idle_transaction_timeout = {idle} */"
    }


def quicken(engine: sa.Engine) -> None:
    """Have the connections of an engine made here, if they are the driver's."""
    if engine.dialect.driver == "pymysql":
        sa.event.listen(engine, "do_connect", _connect)


def _connect(_dialect: Any, _record: Any, values: list[Any], named: dict[str, Any]) -> Any:
    return _Connection(*values, **named)


class _Connection(connections.Connection):  # type: ignore[misc]
    """For each connection the driver reads all the certificates of the system, and then looks at none.

    It does so where the URL says nothing about TLS. Forty connections of a burst were two seconds of that.
    """

    _plain: ssl.SSLContext | None = None

    def _create_ssl_ctx(self, options: Any) -> ssl.SSLContext:
        if options:
            return super()._create_ssl_ctx(options)  # type: ignore[no-any-return]
        if _Connection._plain is None:
            _Connection._plain = super()._create_ssl_ctx(options)
        return _Connection._plain
