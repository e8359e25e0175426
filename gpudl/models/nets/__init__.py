"""The networks, one module per family with a function under @register for each model."""
