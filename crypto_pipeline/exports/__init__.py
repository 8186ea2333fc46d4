"""What was collected, as other tools load it."""
