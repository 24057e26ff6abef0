"""Look-up graphs of DCA-NAS: which search limit delivers which cost."""
