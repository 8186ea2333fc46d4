"""nautilus_trader: python nautilus_backtest.py FOLDER"""

import json
import sys
from pathlib import Path
from typing import Any

import pandas as pd
from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig
from nautilus_trader.config import LoggingConfig
from nautilus_trader.model.currencies import USD
from nautilus_trader.model.data import Bar, BarType
from nautilus_trader.model.enums import AccountType, OmsType, OrderSide
from nautilus_trader.model.identifiers import Venue
from nautilus_trader.model.objects import Money
from nautilus_trader.persistence.catalog import ParquetDataCatalog
from nautilus_trader.trading.strategy import Strategy

KIND = BarType.from_str("BTC/USD.AGREED-1-HOUR-LAST-EXTERNAL")


class Crossing(Strategy):  # type: ignore[misc]  # of a package that is not here
    def __init__(self, pair: Any, moods: dict[int, float]) -> None:
        super().__init__()
        self.pair = pair
        self.moods = moods
        self.closes: list[float] = []

    def on_start(self) -> None:
        self.subscribe_bars(KIND)

    def on_bar(self, bar: Bar) -> None:
        self.closes.append(float(bar.close))
        if len(self.closes) <= 24:
            return
        fast, slow = sum(self.closes[-6:]) / 6, sum(self.closes[-24:]) / 24
        held = self.portfolio.is_net_long(self.pair.id)
        if fast > slow and not held and self.moods[bar.ts_event] >= 45:
            amount = self.pair.make_qty(0.1)
            self.submit_order(self.order_factory.market(self.pair.id, OrderSide.BUY, amount))
        elif fast < slow and held:
            self.close_all_positions(self.pair.id)


def main(folder: Path) -> dict[str, Any]:
    """The fills, the balance, and the digits of each pair's price."""
    catalog = ParquetDataCatalog(str(folder / "catalog"))
    pairs = {str(pair.id): pair for pair in catalog.instruments()}
    pair = pairs["BTC/USD.AGREED"]
    bars = catalog.bars(bar_types=[str(KIND)])
    table = pd.read_parquet(folder / "candles.parquet").query("symbol == 'BTC'")
    moments = table["close_at"].dt.as_unit("ns").astype("int64")
    engine = BacktestEngine(BacktestEngineConfig(logging=LoggingConfig(log_level="ERROR")))
    engine.add_venue(Venue("AGREED"), OmsType.NETTING, AccountType.CASH, [Money(100_000, USD)])
    engine.add_instrument(pair)
    engine.add_data(bars)
    engine.add_strategy(Crossing(pair, dict(zip(moments, table["fear_greed"], strict=True))))
    engine.run()
    fills = engine.trader.generate_order_fills_report().sort_values("ts_last")
    return {
        "bars": len(bars),
        "decimals": {name: pair.price_precision for name, pair in pairs.items()},
        "fills": [
            [row.side, row.ts_last.isoformat(), float(row.avg_px), float(row.filled_qty)]
            for row in fills.itertuples()
        ],
        "balance": float(engine.portfolio.account(Venue("AGREED")).balance_total(USD)),
    }


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))
