"""Who is compared: baselines, neighbours, the policies of the user."""
