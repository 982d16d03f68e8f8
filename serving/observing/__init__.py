"""What the server tells of its work: metrics, the log, and the name and times of each request."""
