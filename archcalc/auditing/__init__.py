"""Published figures held against computed ones."""
