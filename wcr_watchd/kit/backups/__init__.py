"""What backups are made of: sets of files, archives, checksums, copies elsewhere, restores."""
