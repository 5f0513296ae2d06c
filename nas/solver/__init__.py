"""Design of networks as mathematical programmes, solved to a proven optimum."""
