"""espsim: an ESP (IPsec) dataplane emulator with a model of SPI-only hardware offload.

The rooms of the house, and who may import whom, are in the README and held by the import linter; start reading at
`espsim.reference`, which handles one packet at a time in the order of RFC 4303.
"""

__version__ = "0.1.0"
