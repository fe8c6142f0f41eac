"""The Prometheus exposition, made from a read-only view of the state."""
