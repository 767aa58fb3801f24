"""The DAG: tasks that depend on each other, the plan of what may start, and the engine that carries it out."""
