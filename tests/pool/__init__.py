"""What must be survived: one test or more for every row of the list of faults, by its letter and number."""
