"""Tables as text: for a terminal, for documents, for programs."""
