"""The parts of a search, one idea a file."""
