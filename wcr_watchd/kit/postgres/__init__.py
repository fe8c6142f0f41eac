"""PostgreSQL: connecting within bounds, asking, and what several probes read there."""
