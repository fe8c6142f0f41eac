"""What blackbox_exporter measures, measured here: a Prometheus that is configured for it works with ``/probe``."""
