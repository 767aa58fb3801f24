"""Tests of the reports as pure functions: values in, text out."""
