"""Tests of the program as it is used from outside: the command line."""
