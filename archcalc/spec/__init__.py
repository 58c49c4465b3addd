"""The language of specs: YAML text becomes a graph. Nothing here knows a published figure."""
