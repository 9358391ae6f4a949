"""Questions about many SAs at once: what a device would do with a host's SAs, and how likely SPIs are to collide."""
