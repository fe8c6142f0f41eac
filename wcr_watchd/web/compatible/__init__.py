"""Other programs' interfaces, spoken as their own: Alertmanager, blackbox_exporter, healthchecks pings."""
