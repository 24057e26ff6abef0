"""digits201: a benchmark in which all NAS-Bench-201 cells were trained, in a small network, on scikit-learn's digits."""
