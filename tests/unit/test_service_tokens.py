"""A token of this service beside the caller's: when it is sent, to whom, and what is told without one."""

import hashlib
import json
import logging
import os
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from images import db, errors, methods, models, service_tokens, task_secrets
from images.methods import glance_download
from tests import downloading, identity, service, web
from tests.conftest import Configure

FIELDS = {"glance_region": "two", "glance_image_id": "36d4b546-64a2-4bb9-bdd0-ba676aa48f2c"}
PATH = f"/v2/images/{FIELDS['glance_image_id']}"
DATA = os.urandom(7 << 20)
RECORD: dict[str, Any] = {
    "status": "active",
    "disk_format": "raw",
    "container_format": "bare",
    "size": len(DATA),
    "os_hash_algo": "sha512",
    "os_hash_value": hashlib.sha512(DATA).hexdigest(),
}
OPTIONS = downloading.OPTIONS + downloading.LISTS


class Region:
    """Another region's image service, which has one image."""

    def __init__(self) -> None:
        self.record = web.Ranged(json.dumps(RECORD).encode())
        self.file = web.Ranged(DATA)
        self.answers: dict[str, web.Answer] = {PATH: self.record, f"{PATH}/file": self.file}

    def asked(self, header: str) -> list[str | None]:
        """A header of all requests that were answered with the record or the file."""
        return [asked.get(header) for asked in self.record.asked + self.file.asked]


@pytest.fixture
def keystone() -> Iterator[identity.Identity]:
    """Where this service logs in."""
    with identity.serving() as running:
        yield running


@pytest.fixture
def region(configure: Configure, keystone: identity.Identity, database: None) -> Iterator[Region]:
    """The other region; a task's caller has a token for it, and this service has a login."""
    configure(OPTIONS + keystone.options())
    there = Region()
    with web.serving(there.answers) as url:
        keep({"endpoint": url, "token": "the-callers"})
        yield there


def keep(secret: dict[str, str | None]) -> None:
    """What is kept for the task."""
    with db.transaction() as session:
        session.merge(models.TaskSecret(task_id="task", value=task_secrets.seal(secret)))


def fetched(
    attempt: int = 1, on_bytes: Callable[[int, int | None], None] = lambda *_: None
) -> list[str]:
    """The faults on the way to the image, which must come as a whole."""
    faults: list[str] = []
    found = glance_download.GlanceDownload().fetch(
        downloading.IMAGE,
        FIELDS,
        run=methods.Run("task", attempt, faults.append),
        digest=True,
        on_bytes=on_bytes,
    )
    assert pathlib.Path(found.facts.path).read_bytes() == DATA
    return faults


def refusing(answer: web.Answer, *tokens: str | None) -> web.Answer:
    """An answer that takes one of these service tokens only; None stands for none."""

    def judge(handler: Any) -> None:
        known = handler.headers.get("X-Service-Token") in tokens
        (answer if known else web.status(401))(handler)

    return judge


def test_both_tokens_go_together(region: Region, keystone: identity.Identity) -> None:
    """To the record and to the bytes, and in the next import, by one login."""
    for _ in range(2):
        assert fetched() == []
    assert region.asked("X-Service-Token") == ["service-token-1"] * 4
    assert region.asked("X-Auth-Token") == ["the-callers"] * 4
    assert keystone.logins == 1


def test_none_is_sent_where_the_operator_does_not_say_so(
    region: Region, keystone: identity.Identity, configure: Configure
) -> None:
    configure(OPTIONS + keystone.options().replace("= true", "= false"))
    fetched()
    assert region.asked("X-Service-Token") == [None] * 2
    assert keystone.logins == 0


def test_none_is_sent_for_a_caller_without_a_token(
    region: Region, keystone: identity.Identity
) -> None:
    """It would be the request of the service itself, which may see more than the caller."""
    keep(task_secrets.of_task("task") | {"token": None})
    fetched()
    assert region.asked("X-Service-Token") == [None] * 2
    assert keystone.logins == 0


def test_none_is_sent_to_another_host(region: Region) -> None:
    """Neither is the caller's: the place that a redirect names has nothing to do with either."""
    elsewhere = Region()
    with web.serving(elsewhere.answers) as url:
        region.answers[PATH] = web.redirect(f"{url}{PATH}")
        region.answers[f"{PATH}/file"] = web.redirect(f"{url}{PATH}/file")
        fetched()
    assert elsewhere.asked("X-Service-Token") == elsewhere.asked("X-Auth-Token") == [None] * 2
    assert region.asked("X-Service-Token") == []


def test_a_token_that_is_about_to_expire_is_renewed(
    region: Region, keystone: identity.Identity
) -> None:
    """In the middle of a transfer too, which the new one goes on with."""
    keystone.lifetime = 60
    region.file.cuts.append(1 << 20)
    assert len(fetched()) == 1
    assert region.asked("X-Service-Token") == [f"service-token-{n}" for n in (1, 2, 3)]
    assert region.file.asked[1]["Range"] == f"bytes={1 << 20}-"


def test_a_token_that_was_revoked_is_renewed(region: Region, keystone: identity.Identity) -> None:
    fetched()
    region.answers[PATH] = refusing(region.record, "service-token-2")
    assert ["401" in fault for fault in fetched()] == [True]
    assert keystone.logins == 2


def test_another_worker_goes_on_with_another_token(
    region: Region, keystone: identity.Identity
) -> None:
    """What has come already is of the same source."""

    def leave(done: int, _: int | None) -> None:
        if done >= 2 << 20:
            raise errors.Abandoned

    with pytest.raises(errors.Abandoned):
        fetched(on_bytes=leave)
    mark = downloading.marks(1)[-1]
    service_tokens.reset()
    fetched(attempt=2)
    assert keystone.logins == 2
    assert region.file.asked[-1]["Range"] == f"bytes={mark}-"


# What is said


@pytest.mark.parametrize(
    ("sends", "words", "logins"),
    [
        ("true", ["this service's own", "allow_expired_window", "new token"], 2),
        ("false", ["has expired", "new token", "[service_user]"], 0),
    ],
)
def test_a_caller_whose_token_is_refused(
    region: Region,
    keystone: identity.Identity,
    configure: Configure,
    sends: str,
    words: list[str],
    logins: int,
) -> None:
    """The cause and the cure are told; another service token is tried once, the same not at all."""
    configure(OPTIONS + keystone.options().replace("true", sends))
    region.answers[PATH] = web.status(401)
    with pytest.raises(errors.ImportFailed, match="region two") as caught:
        fetched()
    assert [word in str(caught.value) for word in words] == [True] * len(words)
    assert keystone.logins == logins


@pytest.mark.parametrize("status", [400, 401, 403, 404])
def test_a_login_that_is_refused(
    region: Region,
    keystone: identity.Identity,
    caplog: pytest.LogCaptureFixture,
    status: int,
) -> None:
    """It is for the operator; nobody is asked for the image, and no secret is told or logged."""
    caplog.set_level(logging.DEBUG)
    keystone.status = status
    with pytest.raises(service_tokens.NoToken, match=r"\[service_user\]") as caught:
        fetched()
    assert region.asked("X-Service-Token") == []
    for secret in ("the-callers", identity.PASSWORD):
        assert secret not in str(caught.value) + caplog.text
    assert keystone.url not in str(caught.value)
    assert "[service_user] gets no token" in caplog.text


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_keystone_that_is_out_of_order(
    region: Region, keystone: identity.Identity, status: int
) -> None:
    """It is asked again, as often as anything else."""
    keystone.status = status
    with pytest.raises(errors.ImportFailed, match=r"identity service .* it was tried 3 times"):
        fetched()
    assert region.asked("X-Service-Token") == []


def test_a_keystone_that_is_away(
    region: Region, keystone: identity.Identity, configure: Configure
) -> None:
    gone = f"http://127.0.0.1:{service.free_port()}"
    configure(OPTIONS + keystone.options().replace(keystone.url, gone))
    with pytest.raises(
        errors.ImportFailed, match=r"identity service .* it was tried 3 times"
    ) as told:
        fetched()
    assert gone not in str(told.value)


def test_nothing_secret_is_logged(
    region: Region, keystone: identity.Identity, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever the libraries log at their most talkative."""
    caplog.set_level(logging.DEBUG)
    region.answers[PATH] = refusing(region.record, "service-token-2")
    fetched()
    for secret in ("the-callers", "service-token", identity.PASSWORD):
        assert secret not in caplog.text
    assert keystone.url in caplog.text  # they do talk


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ("", "auth_type"),
        ("auth_type = no-such", "no-such"),
        ("auth_type = password\nusername = glance", "auth_url"),
        ("auth_type = password\nauth_url = http://k\ntimeout = soon", "timeout"),
    ],
)
def test_a_section_that_cannot_be_used_stops_the_start(
    configure: Configure, lines: str, says: str
) -> None:
    """One line names what is missing."""
    with pytest.raises(SystemExit, match=says) as caught:
        configure(f"[service_user]\nsend_service_user_token = true\npassword = p4ssw0rd\n{lines}")
    text = str(caught.value)
    assert ("service_user" in text, "\n" in text, "p4ssw0rd" in text) == (True, False, False)
    configure("[service_user]\nauth_type = no-such")  # nobody uses it


def test_the_login_of_another_section(
    configure: Configure, region: Region, keystone: identity.Identity
) -> None:
    """`auth_section`, as nova and cinder take it."""
    there = keystone.options().replace("[service_user]\nsend_service_user_token = true", "[login]")
    configure(
        f"{OPTIONS}[service_user]\nsend_service_user_token = true\nauth_section = login\n{there}"
    )
    fetched()
    assert region.asked("X-Service-Token") == ["service-token-1"] * 2
