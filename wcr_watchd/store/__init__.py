"""Where state, incidents, the outbox and history live."""
