"""Statements as a driver takes them: compiled once, not prepared anew each time they are run."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import sqlalchemy as sa

Statement = sa.Select[*tuple[Any, ...]] | sa.CompoundSelect[*tuple[Any, ...]]
#: Statements that are kept.
_KNOWN = 512


@dataclasses.dataclass(frozen=True, slots=True)
class Sql:
    """A statement in a database's own words."""

    text: str
    #: Of every parameter; those that are not said when it is run have it.
    values: dict[str, Any]
    #: What makes a driver's value of a parameter's, where it is not taken as it is.
    processors: Mapping[str, Callable[[Any], Any]]
    #: The parameters in their order, where they have no names.
    order: list[str] | None

    def arguments(self, values: Mapping[str, Any]) -> Any:
        """What the driver is to be given; what is no parameter of the statement does no harm."""
        said = self.values | {name: values[name] for name in self.values.keys() & values.keys()}
        for name, process in self.processors.items():
            said[name] = process(said[name])
        return said if self.order is None else tuple([said[name] for name in self.order])


@functools.lru_cache(_KNOWN)
def of(statement: Statement, dialect: sa.Dialect) -> Sql:
    """A statement that is kept; one that is made anew each time would be compiled each time."""
    made: Any = statement.compile(dialect=dialect, compile_kwargs={"render_postcompile": True})
    processors = {}
    for name, parameter in made.binds.items():
        process = parameter.type.dialect_impl(dialect).bind_processor(dialect)
        if process and name in made.params:
            processors[name] = process
    return Sql(made.string, dict(made.params), processors, made.positiontup)
