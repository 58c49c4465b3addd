"""What tests share: oracles, strategies, golden files and counters."""
