"""Documents about what happened; nothing here sends anything."""
