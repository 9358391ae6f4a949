"""Turns results into something to look at, and computes nothing."""
