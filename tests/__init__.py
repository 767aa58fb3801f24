"""The tests. A package, so that callables defined here can be imported by workers."""
