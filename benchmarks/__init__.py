"""Measurements: every figure beside a baseline of the same run. `make bench` prints them."""
