"""Check published figures against computed ones."""
