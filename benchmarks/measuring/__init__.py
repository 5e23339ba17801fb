"""How `overhead.py` measures, one idea a file."""
