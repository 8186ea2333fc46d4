"""Scripts that load an export with the tool it is for and backtest on it; each prints JSON.

They run in .venv-exports, without this package: test_exports_load.py calls them, and works out what
they must find. All trade one rule: long while the mean of 6 closes is above that of 24 and fear and
greed, as known at the close, is at least 45.
"""
