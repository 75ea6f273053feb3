"""The hub over HTTP: an ASGI application, which `modhub serve` runs and a host may mount into its own."""
