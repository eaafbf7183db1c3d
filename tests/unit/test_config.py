"""Glance's names and defaults; impossible values stop the start with one line that names them."""

import pytest

from images import config
from tests.conftest import Configure


@pytest.mark.parametrize(
    "lines",
    [
        "[DEFAULT]\nhashing_algorithm = no-such",
        "[DEFAULT]\nhashing_algorithm = shake_256",
        "[DEFAULT]\nimage_size_cap = 0",
        "[DEFAULT]\nnode_staging_uri = /no/uri",
        "[DEFAULT]\nenabled_backends = os_glance_mine:file",
        "[DEFAULT]\nenabled_backends = a:file,b:file\n[glance_store]\ndefault_backend = c",
        "[image_conversion]\noutput_format = vdi",
        "[import_filtering_opts]\nallowed_ports = [http]",
        "[import_filtering_opts]\nallowed_ports = 80,443",
        "[paste_deploy]\nflavor = no-such",
        "[DEFAULT]\nuser_storage_quota = much",
        "[DEFAULT]\nuser_storage_quota = -1",
        "[DEFAULT]\nwakeup_time = 0",
    ],
)
def test_impossible_values(configure: Configure, lines: str) -> None:
    """One line, and what is wrong stands in it."""
    name = lines.rsplit("\n", 1)[1].split(" ", maxsplit=1)[0]
    with pytest.raises(SystemExit) as caught:
        configure(lines)
    text = str(caught.value)
    assert name.removeprefix("default_") in text or "backends" in text
    assert "\n" not in text


def test_two_stores_must_not_share_a_directory(configure: Configure) -> None:
    """Deleting from one would delete the other one's data."""
    lines = "[DEFAULT]\nenabled_backends = a:file,b:file\n[glance_store]\ndefault_backend = a\n"
    with pytest.raises(SystemExit, match="share"):
        configure(f"{lines}[a]\nfilesystem_store_datadir = /x\n[b]\nfilesystem_store_datadir = /x/")


def test_what_glance_removed_is_ignored(configure: Configure) -> None:
    """enable_image_import, and anything else that nobody knows."""
    configure("[DEFAULT]\nenable_image_import = false\nno_such_option = 7")
    assert config.CONF.enabled_import_methods == ["glance-direct", "web-download"]
