"""How an import is done: graphs, and the steps they are made of. No web, no broker.

A step is one file; a graph is composition only. What passes from step to step, JSON values all:

- `formats`: `{"disk_format", "container_format"}` that the record declares
- `staged`: `{"path", "size", "disk_format", "container_format", "virtual_size"}` of the file in staging
  that the next step works on; `properties` besides where its source or a plugin has given some
- `digest`: the record's `checksum`, `os_hash_algo` and `os_hash_value`
- `stored:<store>`: whether the store has taken the bytes

`watch` (`flows.watch.Watch`) is handed to each step beside them, and is never kept.
"""
