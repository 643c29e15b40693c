"""The replica of CoinGecko: prices that follow from the tape, given by its REST API through a cache, as it does."""
