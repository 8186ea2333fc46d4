"""freqtrade: python freqtrade_backtest.py DATADIR WORK"""

import json
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

from freqtrade.configuration import Configuration
from freqtrade.data.history import load_pair_history
from freqtrade.enums import CandleType, RunMode
from freqtrade.exchange import Exchange
from freqtrade.optimize.backtesting import Backtesting

STRATEGY = """
from pathlib import Path

import pandas as pd
from freqtrade.strategy import IStrategy


class Crossing(IStrategy):
    INTERFACE_VERSION = 3
    timeframe = "1h"
    minimal_roi = {"0": 100}
    stoploss = -0.99
    startup_candle_count = 24

    def populate_indicators(self, dataframe, metadata):
        name = metadata["pair"].replace("/", "_")
        file = Path(self.config["datadir"]) / "point_in_time" / f"{name}-1h.parquet"
        dataframe = dataframe.merge(pd.read_parquet(file), on="date", how="left")
        dataframe["fast"] = dataframe["close"].rolling(6).mean()
        dataframe["slow"] = dataframe["close"].rolling(24).mean()
        return dataframe

    def populate_entry_trend(self, dataframe, metadata):
        up = (dataframe["fast"] > dataframe["slow"]) & (dataframe["fear_greed"] >= 45)
        dataframe.loc[up & (dataframe["volume"] > 0), "enter_long"] = 1
        return dataframe

    def populate_exit_trend(self, dataframe, metadata):
        dataframe.loc[dataframe["fast"] < dataframe["slow"], "exit_long"] = 1
        return dataframe
"""

NO_LIMIT = {"min": None, "max": None}
MARKET = {
    "id": "BTCUSD", "symbol": "BTC/USD", "base": "BTC", "quote": "USD", "active": True,
    "type": "spot", "spot": True, "swap": False, "contract": False, "margin": False, "info": {},
    "precision": {"price": 1e-6, "amount": 1e-8}, "maker": 0.0, "taker": 0.0,
    "limits": dict.fromkeys(("amount", "cost", "price", "leverage"), NO_LIMIT),
}  # fmt: skip
"""What the exchange would say of its market, which is all that is asked of it."""


def load_markets(exchange: Any, *_: object, **__: object) -> None:
    exchange._markets = {"BTC/USD": MARKET}


def backtest(datadir: Path, work: Path) -> list[dict[str, Any]]:
    """The trades."""
    (work / "strategies").mkdir(parents=True)
    (work / "strategies/crossing.py").write_text(STRATEGY)
    config = {
        "dataformat_ohlcv": "parquet", "user_data_dir": str(work), "strategy": "Crossing",
        "exchange": {"name": "kraken", "pair_whitelist": ["BTC/USD"]},
        "stake_currency": "USD", "stake_amount": 1000, "dry_run": True, "dry_run_wallet": 10_000,
        "max_open_trades": 1, "fee": 0.0, "pairlists": [{"method": "StaticPairList"}],
        "entry_pricing": {"price_side": "same"}, "exit_pricing": {"price_side": "same"},
        "export": "none",
    }  # fmt: skip
    (work / "config.json").write_text(json.dumps(config))
    asked = {"config": [str(work / "config.json")], "command": "backtesting"}
    with patch.object(Exchange, "reload_markets", load_markets):
        made = Configuration({**asked, "datadir": str(datadir)}, RunMode.BACKTEST).get_config()
        backtesting = Backtesting(made)
        backtesting.start()
    trades = backtesting.all_bt_content["Crossing"]["results"]
    columns = ["open_date", "open_rate", "close_date", "close_rate"]
    return json.loads(trades[columns].to_json(orient="records", date_format="iso"))  # type: ignore[no-any-return]


def candles(datadir: Path, kind: str) -> list[Any]:
    """What freqtrade reads of a kind of candles of the swap: how many, and the last."""
    found = load_pair_history(
        "BTC/USD:USD", "1h", datadir, data_format="parquet", candle_type=CandleType(kind),
        fill_up_missing=False, drop_incomplete=False,
    )  # fmt: skip
    last = json.loads(found.iloc[-1].to_json(date_format="iso"))
    return [len(found), last]


if __name__ == "__main__":
    where = Path(sys.argv[1])
    said = {kind: candles(where, kind) for kind in ("funding_rate", "open_interest")}
    said["trades"] = backtest(where, Path(sys.argv[2]))
    print(json.dumps(said))
