"""What KerasTuner is given: tuners and oracles."""
