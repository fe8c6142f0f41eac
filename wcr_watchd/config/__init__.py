"""From TOML to checked values: reading, validation, secrets, discovery of what stands on this host."""
