"""The embedded object store: HTTP/1.1 in front of SQLite, in a process of its own.

It is run by path and imports nothing from the rest of the project, nor anything beyond the few modules of the standard
library that it cannot do without: with `http.server`, `sqlite3` and `json` a start would take three times as long.
Hence also the modules with an underscore: they are what the public ones wrap.
"""
