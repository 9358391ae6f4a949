"""The SAD: SAs, their state, their windows and the rules of SPI allocation. The only owner of SA state."""
