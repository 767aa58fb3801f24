"""What the scheduler knows of jobs, without a clock, a thread or a file: states, recurrence, who is next."""
