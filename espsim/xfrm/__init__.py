"""iproute2's language and ours beside it: batches of `ip xfrm`, requests, policies, monitor, live kernels, fuzzing."""
