"""qlib: python qlib_backtest.py FOLDER

qlib's own strategy trades another rule: all in the coin whose mean of 6 closes is farthest above
that of 24, an hour later.
"""

import json
import sys
from typing import Any

import pandas as pd
import qlib
from qlib.backtest import backtest
from qlib.data import D
from qlib.data.dataset.handler import DataHandler

SIGNAL = "Mean($close, 6) / Mean($close, 24) - 1"
FREQUENCY = "60min"


def main(folder: str) -> dict[str, Any]:
    """What qlib reads, and what the account is worth at the end."""
    qlib.init(provider_uri=folder, region="us", kernels=1, expression_cache=None)
    calendar = D.calendar(freq=FREQUENCY)
    fields = {"feature": ([SIGNAL, "$fear_greed", "$funding_daily"], ["signal", "mood", "rate"])}
    loader = {
        "class": "QlibDataLoader",
        "module_path": "qlib.data.dataset.loader",
        "kwargs": {"config": fields, "freq": FREQUENCY},
    }
    found = DataHandler(instruments="all", data_loader=loader).fetch()
    start, end = calendar[24], calendar[-2]
    strategy = {
        "class": "TopkDropoutStrategy",
        "module_path": "qlib.contrib.strategy",
        "kwargs": {"signal": found["signal"].dropna(), "topk": 1, "n_drop": 1},
    }
    executor = {
        "class": "SimulatorExecutor",
        "module_path": "qlib.backtest.executor",
        "kwargs": {"time_per_step": FREQUENCY, "generate_portfolio_metrics": True},
    }
    free = {"open_cost": 0, "close_cost": 0, "min_cost": 0, "trade_unit": None}
    coins = D.list_instruments(D.instruments("all"), freq=FREQUENCY, as_list=True)
    portfolio, _ = backtest(
        start_time=start, end_time=end, strategy=strategy, executor=executor, account=100_000,
        benchmark=pd.Series(0.0, index=calendar),
        exchange_kwargs={"freq": FREQUENCY, "deal_price": "close", "codes": coins,
                         "limit_threshold": None, **free},
    )  # fmt: skip
    report = portfolio[FREQUENCY][0]
    closes = D.features(["BTC"], ["$close"], freq=FREQUENCY)["$close"]
    btc = found.xs("BTC", level="instrument")
    return {
        "calendar": [len(calendar), str(calendar[0]), str(calendar[-1])],
        "coins": sorted(coins),
        "closes": [float(close) for close in closes],
        "moods": [None if pd.isna(mood) else float(mood) for mood in btc["mood"]],
        "rate": float(btc["rate"].iloc[-1]),
        "steps": len(report),
        "trades": int((report["turnover"] > 0).sum()),
        "account": float(report["account"].iloc[-1]),
    }


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1])))
