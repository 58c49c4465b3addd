"""Networks side by side: totals, parts in order, and accuracy against cost."""
