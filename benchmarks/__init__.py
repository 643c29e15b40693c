"""What the lake costs, measured: one module per workload, results in docs/benchmarks.md."""
