"""How a search is done, one idea a file."""
