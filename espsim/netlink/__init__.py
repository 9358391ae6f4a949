"""The control plane of one network namespace: requests, SPD, clock, events and saved state, as in the kernel.

Begin with netns.py, the namespace. verify.py and construct.py refuse requests (request.py); the SAD carries out those
that pass. migrate.py and migrate_state.py move SAs; clock.py has the timers; saved.py, plain.py and tables.py write a
namespace as JSON and read it back.

What this does not do: it sends nothing to a real kernel (xfrm/ does), and reads no clock.
"""
