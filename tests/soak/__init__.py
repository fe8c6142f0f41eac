"""Long and rough runs: kills, trouble with disk, clock and neighbours, reloads, an hour of faults."""
