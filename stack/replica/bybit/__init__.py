"""The replica of Bybit's public feeds: the tape of the other exchange, in Bybit's words."""
