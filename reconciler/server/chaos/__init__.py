"""Faults on demand: a layer over the server that makes it misbehave as servers, proxies and networks do."""
