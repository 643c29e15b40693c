"""Venues to Kafka: one folder per venue, all of one shape, over what no venue is special in."""
