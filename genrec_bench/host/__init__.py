"""What hosts components: their contracts, their options, the registry that finds them, and the faults they are blamed for."""
