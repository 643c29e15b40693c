"""The language that all parts share: contracts, their renderings, quality, orchestration, settings."""
