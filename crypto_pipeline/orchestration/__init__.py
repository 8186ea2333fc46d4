"""What Dagster runs: assets, jobs, schedules, sensors and the daily maintenance."""
