"""The errors that a caller may meet; each class is one sentence, and that sentence is its default text.

The tree (the HTTP status that `api.errors` answers stands behind each class)::

    GantryError                      500
    ├── Invalid                      400
    │   ├── SizeMismatch             400
    │   └── WrongData                400
    ├── Forbidden                    403
    ├── NotFound                     404
    ├── Conflict                     409
    │   └── Duplicate                409
    ├── Gone                         410
    ├── LimitExceeded                413
    ├── UnsupportedMediaType         415
    │   └── UnacceptableFormat       415
    ├── RangeNotSatisfiable          416
    ├── Unavailable                  503
    │   ├── StorageFull              413
    │   └── Misconfigured            503
    └── ImportFailed                 never reaches a client: it becomes a task's message
        └── Stopped

    Abandoned                        a BaseException: nothing that a flow does may catch it

No text of an error holds a path, a credential or a trace: it is shown to whoever asked.
"""


class GantryError(Exception):
    """The service could not do what was asked."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (self.__doc__ or "").strip())


class Invalid(GantryError):
    """The request is not valid."""


class SizeMismatch(Invalid):
    """The body is not as long as the request said."""


class WrongData(Invalid):
    """The data are not those that were promised."""


class Forbidden(GantryError):
    """You are not allowed to do this."""


class NotFound(GantryError):
    """The resource could not be found."""


class Conflict(GantryError):
    """The image is in a state that does not allow this."""


class Duplicate(Conflict):
    """Something with this name or id exists already."""


class Gone(GantryError):
    """The image was deleted meanwhile."""


class LimitExceeded(GantryError):
    """The request goes over a limit."""


class UnsupportedMediaType(GantryError):
    """The Content-Type is not one that this resource takes."""


class UnacceptableFormat(UnsupportedMediaType):
    """The data are not what the image's disk_format says, or are unsafe."""


class RangeNotSatisfiable(GantryError):
    """The requested range does not lie within the data."""


class Unavailable(GantryError):
    """The storage cannot be used right now."""


class StorageFull(Unavailable):
    """There is not enough space left in the storage."""


class Misconfigured(Unavailable):
    """The storage refuses this service: only its operator can change that."""


class ImportFailed(GantryError):
    """The import failed."""


class Stopped(ImportFailed):
    """The import was stopped, because its image was deleted or another worker has taken it over."""


class Abandoned(BaseException):
    """This worker leaves the task as it is, for the next one to go on with: nothing is reverted.

    It has lost the lease, is asked to end, or cannot reach the database. Like GeneratorExit it is no
    Exception: TaskFlow would take one for the failure of a step, and undo the import.
    """
