"""Kafka → bronze → silver. One folder per job: `job.py` reads, calls, writes; `transforms.py` is pure."""
