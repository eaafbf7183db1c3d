"""What a database means by its complaints: an outage, which passes, or a fault of ours."""

import logging
from typing import Any

from sqlalchemy import exc

from images import errors

LOG = logging.getLogger(__name__)

_AWAY = "The database does not answer. Try again later; the log of this service says why."
_BUSY = "The database is busy with other changes. Try again."
_FULL = "The database has no room left for this change."
_READ_ONLY = "The database can only be read at present, so nothing can be changed."
_SCHEMA = (
    "The database has not the tables of this release: its operator has to run `gantry db sync`."
)

#: SQLite's names of results, without what follows the second word.
_SQLITE = {
    "SQLITE_BUSY": _BUSY,
    "SQLITE_LOCKED": _BUSY,
    "SQLITE_FULL": _FULL,
    "SQLITE_READONLY": _READ_ONLY,
    "SQLITE_CANTOPEN": _AWAY,
    "SQLITE_IOERR": _AWAY,
    "SQLITE_CORRUPT": _AWAY,
    "SQLITE_NOTADB": _AWAY,
    "SQLITE_PERM": _AWAY,
}
_MISSING = ("no such table", "no such column", "has no column named")
#: SQLSTATE of PostgreSQL: whole, or its class.
_POSTGRESQL = {
    "42P01": _SCHEMA,
    "42703": _SCHEMA,
    "3D000": _SCHEMA,
    "25006": _READ_ONLY,
    "25P03": _AWAY,  # we stood still for too long (`images.db`)
    "53100": _FULL,
    "55P03": _BUSY,
    "40": _BUSY,
    "08": _AWAY,
    "28": _AWAY,
    "53": _AWAY,
    "57": _AWAY,
    "58": _AWAY,
}
#: Numbers of MariaDB and MySQL; 2000 and more are the client's, and all about the connection.
_MARIADB = {
    **dict.fromkeys((1049, 1054, 1146, 1176), _SCHEMA),
    **dict.fromkeys((1205, 1213), _BUSY),
    **dict.fromkeys((3, 1021, 1026, 1114), _FULL),
    **dict.fromkeys((1290, 1792, 1836), _READ_ONLY),
    **dict.fromkeys((1040, 1044, 1045, 1053, 1077, 1078, 1079, 1080, 1129, 1130), _AWAY),
    **dict.fromkeys((1152, 1154, 1156, 1158, 1159, 1160, 1161, 1203, 1226), _AWAY),
    **dict.fromkeys((1317, 1698, 1927, 1969), _AWAY),
}
_CLIENT = 2000


def meaning(error: exc.SQLAlchemyError) -> errors.Unavailable | None:
    """The outage that an error stands for, in words for whoever asked; None where it is a fault of ours."""
    if isinstance(error, exc.TimeoutError):  # every connection of the pool was in use for too long
        return errors.Unavailable(_BUSY)
    if not isinstance(error, exc.DBAPIError):
        return None
    text = _text(error)
    if text is None and (error.connection_invalidated or isinstance(error, exc.InterfaceError)):
        text = _AWAY
    if text:
        LOG.warning("The database: %s", error.orig)
    return errors.Unavailable(text) if text else None


def _text(error: exc.DBAPIError) -> str | None:
    """By the name that a database's own driver gives to what has happened."""
    cause: Any = error.orig
    if name := getattr(cause, "sqlite_errorname", None):
        if name == "SQLITE_ERROR":
            return _SCHEMA if any(one in str(cause) for one in _MISSING) else None
        return _SQLITE.get("_".join(name.split("_")[:2]))
    number = cause.args[0] if cause and cause.args else None
    if isinstance(number, int):  # pymysql
        return _AWAY if number == 0 or number >= _CLIENT else _MARIADB.get(number)
    if hasattr(cause, "sqlstate"):  # psycopg; a connection that was never made has none
        state = cause.sqlstate or ("08" if isinstance(error, exc.OperationalError) else "")
        return _POSTGRESQL.get(state) or _POSTGRESQL.get(state[:2])
    return None
