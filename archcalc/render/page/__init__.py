"""A page to explore networks in a browser: what it shows, as data, and the files of the page itself."""
