"""What a run is on a machine or a cluster: devices, the run's folder, its records."""
