"""CoinGecko, v3: the prices of coins over all exchanges, polled from its REST API within a budget of requests."""
