"""What every room may use: values, errors, clock, files, redaction, shutdown."""
