"""Migrations that may be run again: what is there already is passed over.

A database of Glance's has half of the tables already (`images.schema.adopt`). And on MariaDB, which commits
after each statement that changes a table, an upgrade that was killed has come part of its way.
"""

import sqlalchemy as sa
from alembic.operations import Operations, ops


@Operations.implementation_for(ops.CreateTableOp, replace=True)
def create_table(operations: Operations, operation: ops.CreateTableOp) -> sa.Table:
    """Create a table that is not there."""
    table = operation.to_table(operations.migration_context)
    if not _inspector(operations).has_table(table.name):
        operations.impl.create_table(table)
    return table


@Operations.implementation_for(ops.CreateIndexOp, replace=True)
def create_index(operations: Operations, operation: ops.CreateIndexOp) -> None:
    """Create an index that is not there."""
    index = operation.to_index(operations.migration_context)
    there = {one["name"] for one in _inspector(operations).get_indexes(operation.table_name)}
    if index.name not in there:
        operations.impl.create_index(index)


@Operations.implementation_for(ops.AddColumnOp, replace=True)
def add_column(operations: Operations, operation: ops.AddColumnOp) -> None:
    """Add a column that is not there."""
    there = {one["name"] for one in _inspector(operations).get_columns(operation.table_name)}
    if operation.column.name not in there:
        operations.impl.add_column(operation.table_name, operation.column)


def _inspector(operations: Operations) -> sa.Inspector:
    """A new one each time: it remembers what it has seen."""
    return sa.inspect(operations.get_bind())
