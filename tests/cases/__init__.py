"""Facts about other systems, replayed on this one."""
