"""The gateway: a stable TCP port per module, where a connection brings the module up and is spliced to its server."""
