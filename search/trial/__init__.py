"""What one trial is: where it starts, what it may cost, how it may end."""
