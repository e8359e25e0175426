"""The data sets that `gpudl.data.load` knows by name: each module here registers its own."""
