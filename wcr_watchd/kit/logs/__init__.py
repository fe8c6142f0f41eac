"""Logs: followed over rotation, counted by pattern, and read by format."""
