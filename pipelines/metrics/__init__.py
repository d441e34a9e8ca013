"""What Prometheus sees of a job: the instruments, and the page that it scrapes."""
