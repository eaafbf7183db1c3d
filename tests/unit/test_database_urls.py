"""rocky r47: what stands in the database's URL, and in which driver's words."""

import pathlib

import pytest

from images import config, db
from tests import commands


@pytest.mark.parametrize(
    ("quoted", "password"),
    [
        ("p%40ss%2Fw", "p@ss/w"),
        ("p%2540", "p%40"),
        ("50%off", "50%off"),
        ("100%", "100%"),
        ("%(user)s", "%(user)s"),
        ("p+w", "p+w"),
    ],
)
def test_r47_a_password_is_unquoted_once(
    tmp_path: pathlib.Path, quoted: str, password: str
) -> None:
    """A literal % survives the file, too, which oslo.config takes as it is."""
    file = tmp_path / "gantry.conf"
    url = f"mysql://me:{quoted}@127.0.0.1:1/gantry"
    file.write_text(f"[database]\nconnection = {url}\n[gantry]\nstate_path = {tmp_path}\n")
    ended = commands.run(file, "gantry db check")
    assert (ended.code, "Traceback" in ended.err) == (1, False)
    assert config.CONF.database.connection == url
    assert db.engine().url.password == password
    assert db.engine().url.drivername == "mysql+pymysql"
    db.dispose()
    config.CONF.reset()
