"""Coinbase Exchange, spot: the WebSocket feed, and REST for history and what the feed left out."""
