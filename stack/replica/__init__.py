"""A stand-in for Coinbase Exchange on this machine: its WebSocket feed and REST API, playing a recording."""
