"""What a policy would have earned where each prompt met one model."""
