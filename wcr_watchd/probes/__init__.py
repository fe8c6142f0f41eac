"""Probe types, one file each; found by their file name."""
