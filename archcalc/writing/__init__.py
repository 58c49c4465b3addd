"""A graph as the text of a spec: nested as steps, in blocks, laid out as YAML, and read again to compare."""
