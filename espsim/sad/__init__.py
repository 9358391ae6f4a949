"""The SAD: SAs, their state, their windows and the rules of SPI allocation. The only owner of SA state.

`sad.py` is the database, `index.py` where states are found, `entry.py` a state, `window.py` its replay window,
`association.py` what was configured. It knows neither netlink nor policies: that is `espsim/netlink/`.
"""
