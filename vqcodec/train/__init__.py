"""Training: data, losses, schedules, export. Never imported by encoding or decoding."""
