"""What a training run leaves in MLflow."""
