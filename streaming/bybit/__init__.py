"""Bybit, v5: the public WebSocket feeds of its markets, linear and spot."""
