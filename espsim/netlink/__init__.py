"""One network namespace's control plane: requests checked as the kernel checks them, SPD, clock, events, saved state.

`netns.py` is the namespace. Requests (request.py) are refused by verify.py and construct.py, or done by the SAD.
"""
