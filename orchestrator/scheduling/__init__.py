"""How the scheduler works: what it knows of each job, the turns in which jobs move, and what is written down first."""
