"""Hardware models: the schema of hwmodels/*.toml, and the device that runs one. No device is named in Python."""
