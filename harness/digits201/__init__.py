"""digits201: every NAS-Bench-201 cell in a small network, trained for real on scikit-learn's digits."""
