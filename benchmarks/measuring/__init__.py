"""How the benchmarks measure, one idea a file."""
