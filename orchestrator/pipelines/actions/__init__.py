"""GitHub Actions workflow files, read and run on this machine."""
