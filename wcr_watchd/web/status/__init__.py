"""The public status page: its files, how they are served, and its forms."""
