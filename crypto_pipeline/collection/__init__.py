"""One collection: from the plan of whom to ask to the batch that is written."""
