"""How an import is done: graphs, and the steps they are made of. No web, no broker.

A step is one file; a graph is composition only. What passes from step to step, JSON values all:

- `staged`: `{"path", "size", "disk_format", "container_format", "virtual_size"}` of the file in staging
  that the next step works on
- `digest`: the record's `checksum`, `os_hash_algo` and `os_hash_value`
- `location:<store>`: `[URI, metadata]` where the store has taken the bytes, `null` where it could not

`watch` (`flows.watch.Watch`) is handed to each step beside them, and is never kept.
"""
