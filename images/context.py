"""Who asks: the caller of a request, as the authentication in front of the service confirmed it."""

import dataclasses


@dataclasses.dataclass(frozen=True, slots=True)
class Context:
    """The caller of one request (contract section 5.1)."""

    #: Keystone's id of the user, or None for nobody in particular.
    user_id: str | None
    #: The project that the caller's token is for.
    project_id: str | None
    #: Whom the caller's images belong to: the project, or (`owner_is_tenant = false`) the user.
    owner: str | None
    #: Names of the caller's roles in that project, in lower case.
    roles: tuple[str, ...]
    #: Whether policy rule `context_is_admin` holds.
    is_admin: bool
    #: `req-<uuid>`; every answer, log line and task of the request carries it.
    request_id: str
    #: Roles of the service that asks on the user's behalf (X-Service-Token), in lower case.
    service_roles: tuple[str, ...] = ()
    #: Set where the token is for a domain or for the whole system, which our policies do not serve.
    domain_id: str | None = None
    system_scope: str | None = None
    #: Domains that the user and the project are in; operators' rules may name them.
    user_domain_id: str | None = None
    project_domain_id: str | None = None
    #: Whether nobody has said who he is: then nothing may be changed.
    read_only: bool = False
    #: For calls to other services on the user's behalf; never to be logged or put into a job.
    auth_token: str | None = dataclasses.field(default=None, repr=False)
    #: Keystone's catalog of the other services, or None.
    service_catalog: tuple[dict[str, object], ...] | None = dataclasses.field(
        default=None, repr=False
    )
