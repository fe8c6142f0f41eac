"""Technical helpers that probes, channels and the moving parts share; nothing here knows what a check is."""
