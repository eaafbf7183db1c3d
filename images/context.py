"""Who asks: the caller of a request, as the authentication in front of the service confirmed it."""

import dataclasses


@dataclasses.dataclass(frozen=True, slots=True)
class Context:
    """The caller of one request (contract section 5.1)."""

    #: Keystone's id of the user, or None for nobody in particular.
    user_id: str | None
    #: The project that new images belong to.
    project_id: str | None
    #: Names of the caller's roles in that project, in lower case.
    roles: tuple[str, ...]
    #: Whether policy rule `context_is_admin` holds.
    is_admin: bool
    #: `req-<uuid>`; every answer, log line and task of the request carries it.
    request_id: str
