"""The file of property protections: read, refused, and what it decides (contract section 3.6)."""

import pathlib

import pytest

from images import context, policy, protections
from tests.conftest import Configure

OPERATIONS: tuple[protections.Operation, ...] = ("create", "read", "update", "delete")
_POLICIES = '"makers": "role:maker or role:chief"\n"owners": "project_id:%(project_id)s"\n'


def section(name: str, whom: str, **others: str) -> str:
    lines = {operation: others.get(operation, whom) for operation in OPERATIONS}
    return f"[{name}]\n" + "".join(f"{key} = {value}\n" for key, value in lines.items())


class Rules:
    """A property_protection_file, read again whenever it is written."""

    def __init__(self, configure: Configure, directory: pathlib.Path) -> None:
        self._configure = configure
        self.file = directory / "protections.conf"
        self.policy = directory / "policy.yaml"
        self.policy.write_text(_POLICIES)

    def write(self, text: str, kind: str = "roles") -> None:
        self.file.write_text(text)
        self.read(kind)

    def read(self, kind: str = "roles") -> None:
        policy.reset()
        self._configure(
            f"[DEFAULT]\nproperty_protection_file = {self.file}\n"
            f"property_protection_rule_format = {kind}\n"
            f"[oslo_policy]\npolicy_file = {self.policy}\n"
        )


@pytest.fixture
def rules(configure: Configure, tmp_path: pathlib.Path) -> Rules:
    return Rules(configure, tmp_path)


def judge(
    *roles: str, service: tuple[str, ...] = (), project: str | None = "p"
) -> protections.Judge:
    asker = context.Context(
        user_id="u",
        project_id=project,
        owner=project,
        roles=roles,
        is_admin=False,
        request_id="req-1",
        service_roles=service,
    )
    return protections.Judge(asker)


def may(name: str, *roles: str, service: tuple[str, ...] = ()) -> str:
    """Initials of the operations that are allowed."""
    one = judge(*roles, service=service)
    return "".join(operation[0] for operation in OPERATIONS if one.allows(operation, name))


def test_without_a_file_everybody_may_do_everything(configure: Configure) -> None:
    assert may("anything") == "crud"


@pytest.mark.parametrize(
    ("whom", "roles", "service", "allowed"),
    [
        ("@", (), (), True),
        ("!", ("admin",), (), False),
        ("", ("admin",), (), False),
        ("admin", ("admin",), (), True),
        ("admin", ("member",), (), False),
        ("admin", (), (), False),
        ("Admin, Member", ("member",), (), True),
        (" admin ,member ", ("member", "reader"), (), True),
        ("nova", ("member",), ("nova",), True),
        ("nova", (), ("nova",), True),
        ("nova", ("member",), ("cinder",), False),
        ("!,admin", ("admin",), (), False),
        ("@,admin", (), (), True),
        ("admin,,", ("admin",), (), True),
        (",", ("",), (), False),
        ("adm", ("admin",), (), False),
        ("%(x)s", ("%(x)s",), (), True),
    ],
)
def test_roles(
    rules: Rules, whom: str, roles: tuple[str, ...], service: tuple[str, ...], allowed: bool
) -> None:
    rules.write(section("x", whom))
    assert may("x", *roles, service=service) == ("crud" if allowed else "")


def test_each_operation_has_its_own_line(rules: Rules) -> None:
    rules.write(section("x", "", create="a", read="a,b,c", update="b", delete="c"))
    assert (may("x", "a"), may("x", "b"), may("x", "c")) == ("cr", "ru", "rd")


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("x_a", "first"),
        ("my_x_a", "first"),
        ("x_b", "second"),
        ("my_x_b", "nobody"),
        ("X_a", "nobody"),
        ("y", "third"),
        ("yy", "nobody"),
        ("os_glance_mark", "everybody"),
        ("os_glanceable", "everybody"),
        ("my_os_glance", "nobody"),
    ],
)
def test_the_first_section_that_is_found_in_the_name_decides(
    rules: Rules, name: str, found: str
) -> None:
    rules.write(
        section("x_a", "first")
        + section("^x_.*", "second")
        + section("^y$", "third")
        + section("os_glance.*", "!")
    )
    who = [role for role in ("first", "second", "third") if may(name, role)]
    expected = {"nobody": [], "everybody": ["first", "second", "third"]}.get(found, [found])
    assert who == expected


def test_a_file_without_a_section_denies_everything_but_our_own_marks(rules: Rules) -> None:
    rules.write("# nothing\n")
    assert (may("x", "admin"), may("os_glance_x")) == ("", "crud")


def test_a_general_section_does_not_hide_our_own_marks(rules: Rules) -> None:
    rules.write(section(".*", "!"))
    assert (may("x", "admin"), may("os_glance_x")) == ("", "crud")


def test_values_may_come_from_the_default_section(rules: Rules) -> None:
    rules.write(
        "[DEFAULT]\ncreate = admin\nread = @\nupdate = admin\ndelete = !\n[x]\n[y]\nread = admin\n"
    )
    assert (may("x"), may("x", "admin"), may("y"), may("y", "admin")) == ("r", "cru", "", "cru")


@pytest.mark.parametrize(
    ("whom", "roles", "allowed"),
    [
        ("@", (), True),
        ("!", ("chief",), False),
        ("", ("chief",), False),
        ("makers", ("maker",), True),
        ("makers", ("chief", "x"), True),
        ("makers", ("member",), False),
        ("context_is_admin", ("admin",), True),
        ("context_is_admin", ("member",), False),
        ("owners", ("member",), False),  # no image is meant, so no project owns it
    ],
)
def test_policies(rules: Rules, whom: str, roles: tuple[str, ...], allowed: bool) -> None:
    rules.write(section("x", whom), "policies")
    assert may("x", *roles) == ("crud" if allowed else "")


def test_a_policy_is_read_again_when_its_file_has_changed(rules: Rules) -> None:
    rules.write(section("x", "makers"), "policies")
    assert (may("x", "maker"), may("x", "other")) == ("crud", "")
    rules.policy.write_text('"makers": "role:other or role:somebody_else"\n')
    assert (may("x", "maker"), may("x", "other")) == ("", "crud")
    rules.policy.write_text('"more": "role:other or role:nobody_at_all_any_more"\n')
    assert (may("x", "maker"), may("x", "other")) == ("", "")


@pytest.mark.parametrize(
    ("text", "kind", "named"),
    [
        *[
            (section("x", "@").replace(f"{operation} = @\n", ""), kind, f"[x] {operation}")
            for operation in OPERATIONS
            for kind in ("roles", "policies")
        ],
        (section("(x", "@"), "roles", "[(x]"),
        (section("*", "@"), "roles", "[*]"),
        (section("x", "@,!"), "roles", "@"),
        (section("x", "@", delete="!, admin, @"), "roles", "[x] delete"),
        (section("x", "@,!"), "policies", "@"),
        (section("x", "makers,owners"), "policies", "combine"),
        (section("x", "makers,"), "policies", "combine"),
        (section("x", "@", update="mekers"), "policies", "mekers"),
        (section("x", "@") * 2, "roles", "already exists"),
        ("create = @\n", "roles", "cannot be read"),
        ("[x]\ncreate\n", "roles", "cannot be read"),
        ("[x\n", "roles", "cannot be read"),
    ],
)
def test_a_file_that_cannot_be_used_stops_the_start(
    rules: Rules, text: str, kind: str, named: str
) -> None:
    with pytest.raises(SystemExit) as caught:
        rules.write(text, kind)
    assert "property_protection_file" in str(caught.value)
    assert named in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_stops_the_start(rules: Rules) -> None:
    with pytest.raises(SystemExit, match=r"property_protection_file.*protections\.conf") as caught:
        rules.read()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("raw", [b"\xff\xfe[x]\n", b"[x]\ncreate = \xff\n"])
def test_bytes_that_are_no_text_stop_the_start(rules: Rules, raw: bytes) -> None:
    rules.file.write_bytes(raw)
    with pytest.raises(SystemExit, match="cannot be read"):
        rules.read()


def test_a_file_is_found_beside_the_configuration(
    configure: Configure, tmp_path: pathlib.Path
) -> None:
    (tmp_path / "mine.conf").write_text(section("x", "admin"))
    configure("[DEFAULT]\nproperty_protection_file = mine.conf")
    assert (may("x", "admin"), may("x")) == ("crud", "")
