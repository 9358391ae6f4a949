"""Two languages for a namespace, `ip xfrm` and espsim's requests; run on the model, or on a live kernel to compare."""
