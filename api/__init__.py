"""Who asks: HTTP in, HTTP out. Knows Glance's wire format and nothing of how an import is done."""
