"""Benchmarks: `make bench` runs them all. Each module measures one promise and has `run() -> list[Row]`."""
