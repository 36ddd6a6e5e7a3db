"""Records runs of training and comparing in MLflow."""
