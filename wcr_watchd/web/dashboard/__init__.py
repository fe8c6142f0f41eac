"""The pages for the people of the team: rendered on the server, kept fresh by events."""
