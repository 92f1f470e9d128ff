"""Structure in feature sequences without labels: change points, kinds that recur, stretches like an example."""
